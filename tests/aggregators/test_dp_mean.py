"""Private means: the noise is there, clients are bounded, the clip adapts."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.testing.hooked import sent_by
from tests.testing.soaked import soaked
from tff_pipeline.aggregators.private import dp_mean, noise
from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.recorded import RecordedFactory
from tff_pipeline.client_work.local_noise import LocalNoise
from tff_pipeline.privacy import matrix
from tff_pipeline.runtime.in_process import InProcessContext

KEY = noise.key_of(0x0123456789ABCDEF0123456789ABCDEF)
OTHER_KEY = noise.key_of(1)
SHAPES = [(30, 20), (20,)]
SIZE = 620
TYPE = tff.types.to_type([(np.float32, shape) for shape in SHAPES])
ZEROS = [np.zeros(shape, np.float32) for shape in SHAPES]
BOUND, MULTIPLIER, EXPECTED = 2.0, 1.5, 4
# Less often than once in a million runs, were these not fixed keys.
SIGNIFICANCE = 1e-6


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext(client_threads=2):
        yield


def flat(value):
    return np.concatenate([np.ravel(part) for part in value])


def run(factory, rounds, clients=(ZEROS,) * EXPECTED):
    """What is released in each round, [rounds, SIZE], and the last state."""
    process = factory.create(TYPE)
    state, results = process.initialize(), []
    for _ in range(rounds):
        output = process.next(state, list(clients))
        state = output.state
        results.append(flat(output.result))
    return np.array(results), state


def fixed(drawn, multiplier=MULTIPLIER, expected=EXPECTED):
    return dp_mean.DpMeanFactory(BOUND, multiplier, expected, drawn)


def adaptive(multiplier=MULTIPLIER, **options):
    options = {"initial_bound": BOUND, "learning_rate": 0.0, **options}
    return dp_mean.AdaptiveDpMeanFactory(
        multiplier, 10.0, EXPECTED, KEY, **options
    )


def assert_variance(values, expected):
    """Chi-square test of independent normal numbers of mean 0."""
    statistic = np.sum(np.square(values, dtype=np.float64)) / expected
    tail = stats.chi2(values.size)
    assert tail.cdf(statistic) > SIGNIFICANCE
    assert tail.sf(statistic) > SIGNIFICANCE


def assert_independent(one, other):
    correlation = np.corrcoef(np.ravel(one), np.ravel(other))[0, 1]
    # Fisher 1915: nearly normal.
    deviation = math.atanh(correlation) * math.sqrt(np.size(one) - 3)
    assert 2 * stats.norm.sf(abs(deviation)) > SIGNIFICANCE


UNIT = MULTIPLIER * BOUND / EXPECTED


@pytest.mark.parametrize(
    "factory",
    [
        fixed(noise.FreshNoise(KEY)),
        fixed(noise.TreeNoise(KEY, 1)),
        fixed(noise.TreeNoise(KEY, 8, restart=1)),
        fixed(noise.BandedNoise(KEY, [1.0])),
    ],
    ids=["fresh", "tree", "tree_restart", "banded"],
)
def test_noise_is_the_multiplier_times_the_clip_over_the_cohort(factory):
    released, _ = run(factory, 1)
    assert_variance(released, UNIT**2)


def test_noise_of_an_adaptive_clip_makes_up_for_that_of_its_count():
    # z_delta = (z^-2 - (2 sigma_b)^-2)^-1/2, by hand.
    multiplier = (1.5**-2 - 20.0**-2) ** -0.5
    released, _ = run(adaptive(), 20)
    assert_variance(released, (multiplier * BOUND / EXPECTED) ** 2)
    both = 1 / math.sqrt(multiplier**-2 + 20.0**-2)
    assert both == pytest.approx(1.5)


def test_noise_of_clients_adds_up():
    hook = LocalNoise(BOUND, MULTIPLIER, KEY)
    sent = [
        flat(sent_by(hook, [tf.constant(part) for part in ZEROS], key))
        for key in tf.range(EXPECTED, dtype=tf.int64)
    ]
    assert_variance(np.array(sent), (MULTIPLIER * BOUND) ** 2)
    assert_variance(np.mean(sent, 0), (MULTIPLIER * BOUND) ** 2 / EXPECTED)
    assert_independent(sent[0], sent[1])


def test_fresh_noise_is_independent_over_rounds_coordinates_and_keys():
    released, _ = run(fixed(noise.FreshNoise(KEY)), 40)
    assert_variance(released, UNIT**2)
    assert_independent(released[:-1], released[1:])
    assert_independent(released[:, :-1], released[:, 1:])
    # Tensors do not share numbers.
    assert_independent(released[:, :20], released[:, 600:])
    other, _ = run(fixed(noise.FreshNoise(OTHER_KEY)), 40)
    assert_independent(released, other)


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: noise.FreshNoise(KEY),
        lambda: noise.TreeNoise(KEY, 8),
        lambda: noise.BandedNoise(KEY, [0.8, 0.5, 0.3]),
    ],
    ids=["fresh", "tree", "banded"],
)
def test_a_resumed_run_draws_what_the_other_would_have_drawn(drawn):
    whole, _ = run(fixed(drawn()), 7)
    process = fixed(drawn()).create(TYPE)
    first, state = run(fixed(drawn()), 4)
    again = []
    for _ in range(3):
        output = process.next(state, [ZEROS] * EXPECTED)
        state = output.state
        again.append(flat(output.result))
    np.testing.assert_array_equal(whole, [*first, *again])
    assert len(np.unique(whole)) > 0.99 * whole.size


def tree_variance(rounds):
    """Of Honaker's estimate from below, of the nodes that cover `rounds`.

    1 / (2 - 2^-level) is what its recursion comes to.
    """
    bits = f"{rounds:b}"[::-1]
    return sum(
        1 / (2 - 2.0**-level) for level, bit in enumerate(bits) if bit == "1"
    )


def test_tree_noise_of_all_rounds_has_the_variance_of_its_nodes():
    tree = noise.TreeNoise(KEY, 20)
    released, _ = run(fixed(tree), 20)
    sums = np.cumsum(released, axis=0)
    for rounds in range(1, 21):
        expected = tree_variance(rounds)
        assert tree.variance(rounds) == pytest.approx(expected, rel=1e-6)
        assert_variance(sums[rounds - 1], UNIT**2 * expected)
    # Fresh noise would have 16 times one round's.
    assert tree.variance(16) < 0.54


def test_a_restarted_tree_begins_anew():
    tree = noise.TreeNoise(KEY, 20, restart=5)
    released, _ = run(fixed(tree), 20)
    for first in (0, 5, 10, 15):
        sums = np.cumsum(released[first : first + 5], axis=0)
        for rounds in range(1, 6):
            assert_variance(sums[rounds - 1], UNIT**2 * tree_variance(rounds))
    assert_independent(released[:5], released[5:10])
    total = 3 * tree_variance(5) + tree_variance(2)
    assert tree.variance(17) == pytest.approx(total, rel=1e-6)


def test_nodes_of_a_tree_have_noise_of_their_own():
    tree = noise.TreeNoise(KEY, 64)
    released, _ = run(fixed(tree), 63)
    sums = np.cumsum(released, axis=0)
    # Rounds 32 and 16 to 32 are covered by nodes that share leaves, so the
    # covariance is that of estimates; of disjoint nodes it is 0.
    assert_independent(sums[31], sums[63 - 1] - sums[31])


def test_banded_noise_is_that_of_the_inverse_matrix():
    column = [0.8, 0.5, 0.3]
    released, _ = run(fixed(noise.BandedNoise(KEY, column)), 12)
    matrix_ = sum(
        np.diag([c] * (12 - band), -band) for band, c in enumerate(column)
    )
    normal = matrix_ @ released / UNIT
    assert_variance(normal, 1.0)
    assert_independent(normal[:-1], normal[1:])
    assert_independent(normal[:-2], normal[2:])
    # And what it is for: less noise in the model.
    column = matrix.coefficients(40, 8)
    released, _ = run(fixed(noise.BandedNoise(KEY, column)), 40)
    squares = np.square(np.cumsum(released, axis=0) / UNIT).mean()
    expected = matrix.mean_variance(column, 40)
    assert squares == pytest.approx(expected, rel=0.1)
    assert expected < 0.3 * matrix.mean_variance((1.0,), 40)


def test_matrix_is_the_best_of_its_kind():
    # Of two bands and two rounds, by hand: (1, c) has the mean variance of
    # (2 + (1 - c)^2) (1 + c^2) / 2.
    column = matrix.coefficients(2, 2)
    c = column[1] / column[0]
    grid = np.linspace(-1, 2, 30001)
    best = grid[np.argmin((2 + (1 - grid) ** 2) * (1 + grid**2))]
    assert c == pytest.approx(best, abs=1e-3)
    assert np.linalg.norm(column) == pytest.approx(1)
    assert matrix.coefficients(100, 1) == (1.0,)
    for bands in (2, 5, 20):
        root = np.cumprod([1.0, *((k - 0.5) / k for k in range(1, bands))])
        root = tuple(root / np.linalg.norm(root))
        found = matrix.coefficients(100, bands)
        assert len(found) == bands
        assert matrix.mean_variance(found, 100) <= matrix.mean_variance(
            root, 100
        )


def test_an_empty_cohort_gives_noise_alone():
    for factory in (
        fixed(noise.FreshNoise(KEY)),
        fixed(noise.TreeNoise(KEY, 8)),
        fixed(noise.BandedNoise(KEY, [0.8, 0.5])),
        adaptive(),
    ):
        nobody, _ = run(factory, 3, clients=())
        zeros, _ = run(factory, 3)
        np.testing.assert_array_equal(nobody, zeros)
        assert np.all(np.isfinite(nobody))


def test_the_mean_is_of_the_expected_clients_whoever_came():
    ones = [np.full(shape, 1e-3, np.float32) for shape in SHAPES]
    for clients in (1, 3, 9):
        released, _ = run(
            fixed(noise.FreshNoise(KEY), 0.0), 1, [ones] * clients
        )
        np.testing.assert_allclose(
            released, clients * 1e-3 / EXPECTED, rtol=1e-5
        )


# Sensitivity.

NUMBERS = st.sampled_from(
    [
        *(0.0, -0.0, 1e-45, 1e-30, 1e-3, 1.0, -2.5, 50.0, 1e19, -1e30, 3.4e38),
        *(math.inf, -math.inf, math.nan),
    ]
)


def adversary(numbers):
    values = np.resize(np.array(numbers, np.float32), SIZE)
    return [values[:600].reshape(30, 20), values[600:]]


@settings(max_examples=60)
@given(
    st.lists(st.lists(NUMBERS, min_size=1, max_size=8), max_size=4),
    st.lists(NUMBERS, min_size=1, max_size=8),
    st.lists(NUMBERS, min_size=1, max_size=8),
)
def test_one_client_moves_the_sum_by_at_most_the_clip(others, one, other):
    cohort = [adversary(numbers) for numbers in others]

    def total(process, state, *more):
        values = [*cohort, *map(adversary, more)]
        return flat(process.next(state, values).result).astype(np.float64)

    for of in SUMS:
        # What summing in float32 may lose.
        slack = 1 + 1e-6 * (1 + len(cohort))
        removed = np.linalg.norm(total(*of, one) - total(*of))
        replaced = np.linalg.norm(total(*of, one) - total(*of, other))
        assert removed <= BOUND * slack
        assert replaced <= 2 * BOUND * slack


@pytest.fixture(scope="module", autouse=True)
def sums(runtime):
    """Processes without noise whose result is the sum, and their states."""
    del runtime
    factories = [
        fixed(noise.FreshNoise(KEY), 0.0, expected=1),
        RecordedFactory(fixed(noise.FreshNoise(KEY), 0.0, expected=1)),
        dp_mean.AdaptiveDpMeanFactory(0.0, 0.0, 1, KEY, initial_bound=BOUND),
    ]
    for factory in factories:
        process = factory.create(TYPE)
        SUMS.append((process, process.initialize()))
    yield
    SUMS.clear()


SUMS = []


def norm_after_clipping(numbers, bound=BOUND):
    clipped, norm = clip(
        [tf.constant(part) for part in adversary(numbers)], bound
    )
    return np.linalg.norm(flat(clipped).astype(np.float64)), float(norm)


@pytest.mark.parametrize("number", [1e30, 3.4e38, 50.0, -1e19])
def test_what_is_long_is_cut_to_the_clip(number):
    after, before = norm_after_clipping([number])
    assert BOUND * (1 - 2e-5) <= after <= BOUND
    assert before == pytest.approx(abs(number) * math.sqrt(SIZE), rel=1e-6)


@pytest.mark.parametrize("number", [0.0, 1e-45, 1e-30, 1e-3])
def test_what_is_short_stays_to_the_bit(number):
    update = [tf.constant(part) for part in adversary([number])]
    clipped, _ = clip(update, BOUND)
    for a, b in zip(clipped, update):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_counts_for_nothing(number):
    after, before = norm_after_clipping([1.0, number])
    assert after == 0 and before == math.inf


def test_a_large_client_weighs_no_more_than_the_clip():
    # Flower's weighted clipping let one fifty times larger move the mean so.
    client = [np.full(shape, 1.0, np.float32) for shape in SHAPES]
    larger = [50 * part for part in client]
    factory = fixed(noise.FreshNoise(KEY), 0.0)
    (one,), _ = run(factory, 1, [client])
    (other,), _ = run(factory, 1, [larger])
    np.testing.assert_allclose(one, other, rtol=1e-5)


# The adaptive clip.


def of_norm(norm):
    return [
        np.full(shape, norm / math.sqrt(SIZE), np.float32) for shape in SHAPES
    ]


@pytest.mark.parametrize("start", [*soaked(0.01), 100.0])
@pytest.mark.parametrize("quantile", [*soaked(0.5), 0.8])
def test_the_clip_comes_to_the_quantile_of_the_norms(start, quantile):
    draw = np.random.default_rng(0)
    norms = np.exp(draw.normal(size=100))
    clients = [of_norm(norm) for norm in norms]
    factory = dp_mean.AdaptiveDpMeanFactory(
        1.0, 5.0, 100, KEY, initial_bound=start, quantile=quantile
    )
    process = factory.create(TYPE)
    state, clips = process.initialize(), []
    # From 100 it falls by a fifth of 1 - quantile a round, as a logarithm.
    for _ in range(180):
        output = process.next(state, clients)
        state = output.state
        clips.append(float(output.measurements["clip"]))
    assert clips[0] == pytest.approx(start)
    # The count's noise, of 5 clients in 100, moves it by a few ranks.
    low, high = np.quantile(norms, [quantile - 0.1, quantile + 0.1])
    assert low < np.exp(np.mean(np.log(clips[120:]))) < high


def test_noise_is_of_the_clip_that_clipped():
    # From zeros, all are within the clip, and it halves from round to round.
    factory = dp_mean.AdaptiveDpMeanFactory(
        1.0,
        1e6,
        EXPECTED,
        KEY,
        initial_bound=8.0,
        quantile=0.5,
        learning_rate=0.0,
    )
    released, _ = run(factory, 1)
    assert_variance(released, (8.0 / EXPECTED) ** 2)
    halving = dp_mean.AdaptiveDpMeanFactory(
        1e-3,
        1e-3,
        EXPECTED,
        KEY,
        initial_bound=8.0,
        quantile=0.5,
        learning_rate=2 * math.log(2),
    )
    released, _ = run(halving, 4)
    multiplier = dp_mean.update_noise_multiplier(1e-3, 1e-3)
    for number, row in enumerate(released):
        clip_ = 8.0 / 2**number
        assert_variance(row, (multiplier * clip_ / EXPECTED) ** 2)


def test_a_count_with_too_little_noise_is_refused():
    with pytest.raises(ValueError, match="above half"):
        dp_mean.AdaptiveDpMeanFactory(2.0, 1.0, 10, KEY)


def test_only_float32_has_noise():
    with pytest.raises(TypeError, match="float32"):
        fixed(noise.FreshNoise(KEY)).create(tff.types.to_type([np.int32]))


def test_recorded_results_add_up():
    draws = [adversary([1.0, 2.0]), adversary([-0.5])]
    plain, _ = run(fixed(noise.FreshNoise(KEY)), 3, draws)
    recorded, state = run(
        RecordedFactory(fixed(noise.FreshNoise(KEY))), 3, draws
    )
    np.testing.assert_array_equal(plain, recorded)
    np.testing.assert_allclose(
        flat(state["released"]), plain.sum(0), rtol=1e-5, atol=1e-6
    )
