"""Attackers that know their cohort, against NumPy and closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.aggregators.rows import rows_of
from tff_pipeline.attacks import attack, on_cohort
from tff_pipeline.config import AttackConfig, DataConfig
from tff_pipeline.tasks.digits import digits_2nn

HONEST, ATTACKERS = 8, 3


@pytest.fixture(scope="module")
def task():
    return digits_2nn(DataConfig(task="digits_2nn"), 0)


def drawn(seed=0):
    """Returns the rows of honest clients, then attackers, as two tensors."""
    draw = np.random.default_rng(seed)
    return draw.normal(1, 2, (HONEST + ATTACKERS, 5)).astype(np.float32)


def replaced(task, name, values, marks=None, **options):
    context = attack.AttackContext(
        AttackConfig(name, **options), task, HONEST + ATTACKERS, ATTACKERS
    )
    if marks is None:
        marks = [0] * HONEST + [1] * ATTACKERS
    # Of two tensors, which an attack must take as one vector.
    rows = rows_of(values[:, :2], values[:, 2:])._replace(
        marks=tf.constant(marks)
    )
    step = attack.build(context).on_rows
    stepped = step.apply(rows, ())
    return np.concatenate([each.numpy() for each in stepped.rows.values], 1)


@pytest.mark.parametrize(
    "name", ["sign_flip_mean", "gaussian", "alie", "ipm", "mimic", "min_max"]
)
def test_honest_rows_stay_and_a_cohort_of_attackers_too(task, name):
    values = drawn()
    assert (replaced(task, name, values)[:HONEST] == values[:HONEST]).all()
    everyone = [1] * len(values)
    assert (replaced(task, name, values, everyone) == values).all()
    assert (replaced(task, name, values, [0] * len(values)) == values).all()


def test_opposites_of_the_honest_mean(task):
    values = drawn()
    mean = values[:HONEST].mean(0)
    for name, scale in (("sign_flip_mean", 1.0), ("ipm", 0.1)):
        forged = replaced(task, name, values)[HONEST:]
        np.testing.assert_allclose(forged, [-scale * mean] * 3, rtol=1e-5)
    forged = replaced(task, "ipm", values, attack_scale=2.0)[HONEST:]
    np.testing.assert_allclose(forged, [-2 * mean] * 3, rtol=1e-5)


def test_alie_takes_deviations_of_n_minus_one(task):
    values = drawn()
    honest = values[:HONEST]
    forged = replaced(task, "alie", values)[HONEST:]
    z = on_cohort.alie_z(HONEST + ATTACKERS, ATTACKERS)
    assert z > 0
    wanted = honest.mean(0) - z * honest.std(0, ddof=1)
    np.testing.assert_allclose(forged, [wanted] * 3, rtol=1e-4, atol=1e-5)
    forged = replaced(task, "alie", values, attack_scale=1.5)[HONEST:]
    wanted = honest.mean(0) - 1.5 * honest.std(0, ddof=1)
    np.testing.assert_allclose(forged, [wanted] * 3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "m", "z"),
    [(25, 5, 0.253347), (50, 12, 0.336038), (10, 2, 0.0), (10, 1, 0.0)],
)
def test_golden_z(n, m, z):
    assert on_cohort.alie_z(n, m) == pytest.approx(z, abs=1e-6)


def test_alie_says_so_where_it_is_no_attack(task):
    config = AttackConfig("alie")
    population = len(task.train)
    context = attack.AttackContext(config, task, 10, population // 5)
    said = attack.build(context).note
    assert said.startswith("Where 2 of 10 clients attack, alie sends z = 0,")
    assert "it is no attack there" in said
    context = attack.AttackContext(config, task, 25, population // 5)
    assert "z = 0.253 standard" in attack.build(context).note


def test_noise_is_each_attackers_own_and_as_long_as_said(task):
    values = drawn()
    forged = replaced(task, "gaussian", values)[HONEST:]
    norm = 10 * np.linalg.norm(values[:HONEST].mean(0))
    np.testing.assert_allclose(np.linalg.norm(forged, axis=1), norm, rtol=1e-5)
    assert len({each.tobytes() for each in forged}) == ATTACKERS
    assert (forged == replaced(task, "gaussian", values)[HONEST:]).all()


def test_mimic_copies_the_client_along_the_first_direction(task):
    values = drawn()
    values[3] = 50.0
    forged = replaced(task, "mimic", values)[HONEST:]
    assert (forged == values[3]).all()


@pytest.mark.parametrize("seed", range(5))
def test_min_max_is_as_far_as_honest_clients_are_apart(task, seed):
    values = drawn(seed)
    honest = values[:HONEST].astype(np.float64)
    forged = replaced(task, "min_max", values)[HONEST].astype(np.float64)
    limit = max(np.linalg.norm(a - b) for a in honest for b in honest)
    farthest = np.linalg.norm(forged - honest, axis=1).max()
    # At the limit, and not beyond: the last that is feasible.
    assert farthest == pytest.approx(limit, rel=1e-5)
    along = (honest.mean(0) - forged) / honest.std(0, ddof=1)
    np.testing.assert_allclose(along, along[0], rtol=1e-4)
    assert along[0] > 0


def test_clients_that_agree_leave_min_max_no_room(task):
    values = np.ones([HONEST + ATTACKERS, 5], np.float32)
    assert (replaced(task, "min_max", values) == 1).all()
