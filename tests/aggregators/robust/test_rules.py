"""Robust rules: golden values, invariances, bounds, and others' faults."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import robust_oracles as oracles
from tff_pipeline.aggregators.robust.bulyan import bulyan_rule
from tff_pipeline.aggregators.robust.centered_clipping import (
    centered_clipping_rule,
)
from tff_pipeline.aggregators.robust.coordinates import (
    median_rule,
    trimmed_mean_rule,
)
from tff_pipeline.aggregators.robust.distances import (
    squared_distances,
    squared_norms,
)
from tff_pipeline.aggregators.robust.geometric_median import (
    geometric_median_rule,
)
from tff_pipeline.aggregators.robust.krum import krum_rule, multi_krum_rule
from tff_pipeline.aggregators.robust.mixing import bucketing_step, nnm_step
from tff_pipeline.aggregators.rows import rows_of

GOLDEN = np.array(
    [
        *([0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.4]),
        *([100, 100], [-100, 50]),
    ]
)
# By name, for f hostile clients; all but the last have no centre of their own.
RULES = {
    "median": median_rule,
    "trimmed_mean": trimmed_mean_rule,
    "krum": krum_rule,
    "multi_krum": multi_krum_rule,
    "bulyan": bulyan_rule,
    "geometric_median": geometric_median_rule,
    "nnm+median": lambda f: nnm_step(f).before(median_rule(f)),
    "nnm+krum": lambda f: nnm_step(f).before(krum_rule(f)),
    "centered_clipping": lambda f: centered_clipping_rule(f, 2.0),
}


def applied(rule, *matrices):
    """The aggregate of rows in one vector."""
    rows = rows_of(*matrices)
    specs = [tf.TensorSpec([m.shape[1]], tf.float32) for m in rows.values]
    outcome = rule.apply(rows, rule.initial_state(specs))
    return np.concatenate([value.numpy() for value in outcome.value])


@pytest.mark.parametrize(
    "rule, expected",
    [
        (krum_rule(2), [0.5, 0.4]),
        (multi_krum_rule(2, 3), [0.5, 0.4 / 3]),
        (trimmed_mean_rule(2), [0.5, 0.8]),
        (median_rule(2), [0.5, 1.0]),
        (
            geometric_median_rule(2, 3, 1e-6, "mean"),
            [0.413539898, 0.895351951],
        ),
        (geometric_median_rule(2, 8, 0.1, "zero"), [0.479476727, 0.554014955]),
        (centered_clipping_rule(2, 1.0, 3), [0.4479554, 0.689682765]),
        (bulyan_rule(1), [1 / 6, 0.8]),
    ],
)
def test_golden_values(rule, expected):
    np.testing.assert_allclose(applied(rule, GOLDEN), expected, rtol=2e-6)
    # The parts of a message are one vector.
    parts = applied(rule, GOLDEN[:, :1], GOLDEN[:, 1:])
    np.testing.assert_allclose(parts, expected, rtol=2e-6)


def test_golden_mixed_rows():
    mixed = nnm_step(2).apply(rows_of(GOLDEN), ()).rows.values[0]
    np.testing.assert_allclose(mixed[5], [20.5, 20.48], rtol=1e-6)
    np.testing.assert_allclose(mixed, oracles.nnm(GOLDEN, 2), rtol=1e-6)


@pytest.mark.parametrize("n, f, numbers", [(7, 1, 3), (11, 2, 40), (12, 2, 5)])
def test_random_rows_agree_with_the_papers_formulas(n, f, numbers):
    rows = np.random.default_rng(n).normal(size=(n, numbers))
    rows = rows.astype(np.float32).astype(np.float64)
    centre = np.median(rows, axis=0)
    expected = {
        "median": centre,
        "trimmed_mean": oracles.trimmed_mean(rows, f),
        "krum": oracles.krum(rows, f),
        "multi_krum": oracles.multi_krum(rows, f, n - f),
        "bulyan": oracles.bulyan(rows, f),
        "geometric_median": oracles.weiszfeld(rows, 8, 1e-6, centre),
        "nnm+median": np.median(oracles.nnm(rows, f), axis=0),
        "nnm+krum": oracles.krum(oracles.nnm(rows, f), f),
        "centered_clipping": oracles.centered_clip(rows, 0 * centre, 2.0, 3),
    }
    for name, rule in RULES.items():
        np.testing.assert_allclose(
            applied(rule(f), rows), expected[name], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", RULES)
def test_the_order_of_clients_does_not_matter(name):
    draw = np.random.default_rng(1)
    rows, rule = draw.normal(size=(11, 6)), RULES[name](2)
    expected = applied(rule, rows)
    for _ in range(3):
        found = applied(rule, draw.permutation(rows))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in RULES if n != "centered_clipping"])
def test_what_all_have_in_common_moves_the_result_alone(name):
    # R2: where distances are of |x|^2 + |y|^2 - 2xy, 1000 is enough to choose
    # wrong clients.
    draw = np.random.default_rng(2)
    rows, rule = draw.normal(size=(11, 6)), RULES[name](2)
    moved = applied(rule, rows + 1e3) - 1e3
    # Numbers of 1000 have steps of 6e-5 in float32.
    np.testing.assert_allclose(moved, applied(rule, rows), atol=5e-4)


def test_whole_models_are_told_apart_by_their_updates():
    # R2: updates of 2e-4 of the model's norm.
    draw = np.random.default_rng(3)
    model = draw.normal(size=5000)
    updates = draw.normal(size=(9, 5000)) * draw.uniform(1, 2, size=(9, 1))
    updates *= 2e-4 * np.linalg.norm(model) / np.linalg.norm(updates[0])
    rows = (model + updates).astype(np.float32)
    expected = oracles.krum(rows.astype(np.float64), 3)
    np.testing.assert_array_equal(
        applied(krum_rule(3), rows), expected.astype(np.float32)
    )
    distances = squared_distances(rows_of(rows)).numpy()
    np.testing.assert_allclose(
        distances, oracles.squared_distances(rows), rtol=1e-9
    )
    np.testing.assert_array_equal(distances, distances.T)


def rows_on_which(rule, *others):
    """Rows on which the right rule and wrong ones give different results."""
    for seed in range(100):
        rows = np.random.default_rng(seed).normal(size=(11, 2))
        rows = rows.astype(np.float32).astype(np.float64)
        right = rule(rows)
        if not any(np.allclose(right, other(rows)) for other in others):
            return rows
    raise AssertionError("No rows tell the rules apart.")


@pytest.mark.parametrize("numbers", [1, 4096, 4097, 10_000])
def test_distances_from_a_centre_are_sums_of_squared_differences(numbers):
    draw = np.random.default_rng(numbers)
    # What rows have in common is 1e4 times what tells them apart.
    rows = np.float32(1e3 + draw.normal(0, 0.1, (3, numbers)))
    centre = np.float32(1e3 + draw.normal(0, 0.1, numbers))
    values, centres = [rows, rows[:, :1]], [centre, centre[:1]]
    found = squared_norms([tf.constant(each) for each in values], centres)
    expected = sum(
        np.sum((each.astype(np.float64) - middle) ** 2, axis=1)
        for each, middle in zip(values, centres)
    )
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_krum_sums_the_nearest_but_f_plus_2_squared_once():
    right = functools.partial(oracles.krum, f=2)
    rows = rows_on_which(
        right,
        functools.partial(oracles.krum, f=2, neighbours=8),  # R1
        functools.partial(oracles.krum, f=2, power=2),  # R3
    )
    np.testing.assert_allclose(applied(krum_rule(2), rows), right(rows))


def test_bulyan_repeats_krum():
    # R5: taking the best at once is another rule.
    right = functools.partial(oracles.bulyan, f=2)
    wrong = functools.partial(oracles.bulyan, f=2, at_once=True)
    rows = rows_on_which(right, wrong)
    found = applied(bulyan_rule(2), rows)
    np.testing.assert_allclose(found, right(rows), rtol=1e-5)


@pytest.mark.parametrize("name", ["krum", "bulyan", "multi_krum", "nnm+krum"])
def test_ties_are_broken_by_what_clients_sent(name):
    # R4: in a lattice nearly all scores tie.
    lattice = np.stack(np.meshgrid([0, 1, 2, 3], [0, 1, 2]), -1).reshape(-1, 2)
    rule, draw = RULES[name](2), np.random.default_rng(4)
    expected = applied(rule, lattice)
    for _ in range(10):
        found = applied(rule, draw.permutation(lattice))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_of_tied_clients_the_first_by_value_is_krums():
    # Two pairs, each other's nearest; the leaves are compared in order.
    rows = np.array([[5, 1], [5, 0], [1, 1], [1, 0]])
    for place, order in enumerate(([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1])):
        one = applied(krum_rule(0), rows[order])
        np.testing.assert_array_equal(one, [1, 0], str(place))
        split = applied(krum_rule(0), rows[order][:, :1], rows[order][:, 1:])
        np.testing.assert_array_equal(split, [1, 0])


def test_trimming_is_by_f_and_no_fraction():
    # R6: a fifth of 4 is 0, which would trim nobody.
    rows = np.array([[0.0], [1.0], [2.0], [1e6]])
    assert applied(trimmed_mean_rule(1), rows) == 1.5


def test_the_median_of_an_even_count_is_between():
    # R7: some take the lower one.
    assert applied(median_rule(1), np.array([[1], [2], [4], [9]])) == 3
    huge = np.array([[3e38], [3e38], [3e38], [0]])
    np.testing.assert_allclose(applied(median_rule(1), huge), 3e38, rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "hostile",
    [
        [[1e30] * 4, [-1e30] * 4],
        [[3e38] * 4, [-3e38] * 4],
        [[3e38, -3e38, 0, 1]] * 2,
        [[0.0] * 4] * 2,
    ],
)
def test_far_and_empty_updates_do_not_reach_the_result(name, hostile):
    # R8. What is not finite never becomes a row: see test_rows.
    honest = np.random.default_rng(5).normal(size=(9, 4)) * 0.1 + 1
    found = applied(RULES[name](2), np.concatenate([honest, hostile]))
    assert np.all(np.isfinite(found))
    assert np.linalg.norm(found - honest.mean(0)) < 1.0


def test_the_geometric_median_begins_where_the_clients_are():
    # R9: from zeros, three iterations depend on where zero is.
    rows = np.random.default_rng(6).normal(size=(9, 3))
    for start, differs in (("median", False), ("mean", False), ("zero", True)):
        rule = geometric_median_rule(2, 3, 1e-6, start)
        moved = applied(rule, rows + 100) - 100
        assert (np.abs(moved - applied(rule, rows)).max() > 0.01) == differs


def test_the_geometric_median_can_weigh_clients():
    rule = geometric_median_rule(0, 100)
    rows = rows_of([[0.0], [1.0], [2.0]])
    heavy = rows._replace(weights=tf.constant([1.0, 1.0, 5.0]))
    assert rule.apply(rows, ()).value[0].numpy() == pytest.approx(1, abs=1e-4)
    assert rule.apply(heavy, ()).value[0].numpy() == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("name", [n for n in RULES if n != "geometric_median"])
def test_what_clients_say_of_their_size_has_no_say(name):
    # R11.
    values = np.random.default_rng(7).normal(size=(11, 3))
    rule, rows = RULES[name](2), rows_of(values)
    state = rule.initial_state([tf.TensorSpec([3])])
    heavy = rows._replace(weights=tf.range(1.0, 12.0))
    np.testing.assert_array_equal(
        rule.apply(rows, state).value[0], rule.apply(heavy, state).value[0]
    )


def test_the_centre_is_the_last_result_and_inputs_stay():
    # R10.
    draw = np.random.default_rng(8)
    rule = centered_clipping_rule(1, 0.5, 2)
    centre, state = np.zeros(3), rule.initial_state([tf.TensorSpec([3])])
    for _ in range(3):
        values = draw.normal(size=(5, 3)).astype(np.float32)
        rows = rows_of(values)
        outcome = rule.apply(rows, state)
        centre, state = (
            oracles.centered_clip(values, centre, 0.5, 2),
            (outcome.state),
        )
        np.testing.assert_allclose(outcome.value[0], centre, rtol=1e-5)
        np.testing.assert_array_equal(rows.values[0], values)
    # Far ones are counted.
    rows = rows_of([[0.0], [0.1], [0.2], [50.0], [60.0]])
    outcome = rule.apply(rows, [tf.zeros([1])])
    assert int(outcome.measured["far_clients"]) == 2


@pytest.mark.parametrize(
    "rule, fewest",
    [
        (median_rule(2), 5),
        (trimmed_mean_rule(2), 5),
        (krum_rule(2), 7),
        (multi_krum_rule(2), 7),
        (multi_krum_rule(2, 9), 11),
        (bulyan_rule(2), 11),
        (geometric_median_rule(2), 5),
        (centered_clipping_rule(2, 1.0), 5),
        (nnm_step(2).before(median_rule(1)), 5),
        (nnm_step(2).before(krum_rule(2)), 7),
        # R12: f stays, and n becomes ceil(n / s): of 12 clients 6, of 13 7.
        (bucketing_step(2, 0).before(krum_rule(2)), 13),
        (bucketing_step(1, 0).before(krum_rule(2)), 7),
        (nnm_step(2).before(bucketing_step(3, 0).before(median_rule(2))), 13),
    ],
)
def test_conditions(rule, fewest):
    assert rule.needs.clients == fewest
    assert rule.needs.lacks(fewest) == ""
    assert f"{fewest - 1} came" in rule.needs.lacks(fewest - 1)


def test_buckets_are_means_of_a_shuffle_of_seed_and_round():
    values = np.eye(7) * np.arange(1, 8)
    rows = rows_of(values)

    def buckets(seed, number):
        step = bucketing_step(2, seed)
        stepped = step.apply(rows._replace(round=tf.constant(number)), ())
        mixed = stepped.rows.values[0].numpy()
        return [tuple(np.flatnonzero(row)) for row in mixed], mixed

    members, mixed = buckets(0, 1)
    assert sorted(map(len, members)) == [1, 2, 2, 2]
    assert sorted(i for bucket in members for i in bucket) == list(range(7))
    for bucket, row in zip(members, mixed):
        np.testing.assert_allclose(row, values[list(bucket)].mean(0))
    assert buckets(0, 1)[0] == members
    others = [buckets(0, number)[0] for number in range(2, 6)]
    assert any(other != members for other in others)
    assert any(buckets(seed, 1)[0] != members for seed in (1, 2, 3))
    # A row that overflows when it is summed up does not when it is averaged.
    huge = rows_of(np.full([2, 1], 3e38))
    mixed = bucketing_step(2, 0).apply(huge, ()).rows.values[0]
    np.testing.assert_allclose(mixed, 3e38, rtol=1e-6)


ITERATED = functools.partial(geometric_median_rule, iterations=40, nu=1e-9)


@pytest.mark.parametrize("steps", ["", "nnm+"])
@pytest.mark.parametrize("name", oracles.KAPPA)
def test_no_adversary_that_is_found_moves_a_rule_beyond_its_bound(name, steps):
    # R13: kappa of Allouah et al. 2023.
    rules = {**RULES, "geometric_median": ITERATED}
    draw = np.random.default_rng(9)
    worst = 0.0
    for f in (1, 2, 3):
        rule = rules[name](f)
        if steps:
            rule = nnm_step(f).before(rule)

        @tf.function(
            input_signature=[tf.TensorSpec([None, 2])], autograph=False
        )
        def aggregate(values, rule=rule):
            state = rule.initial_state([tf.TensorSpec([2])])
            return rule.apply(rows_of(values), state).value[0]

        for _ in range(40):
            n = int(draw.integers(rule.needs.clients, 14))
            rows = oracles.hostile_rows(draw, n, f)
            honest = rows[: n - f].astype(np.float64)
            variance = ((honest - honest.mean(0)) ** 2).sum(1).mean()
            if not variance:
                continue
            bound = oracles.KAPPA[name](n, f)
            if steps:
                bound = oracles.kappa_after_nnm(bound, n, f)
            found = aggregate(draw.permutation(rows)).numpy()
            moved = ((found - honest.mean(0)) ** 2).sum()
            worst = max(worst, moved / (variance * bound))
    assert 0.01 < worst <= 1
