"""Exact private means: the sensitivity with rounding, the noise, the mean."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

pytest.importorskip("cryptography")

from tff_pipeline.aggregators.private.grid import (
    ExactNoise,
    Grid,
)
from tff_pipeline.aggregators.private.grid_mean import (
    GridDpMeanFactory,
    is_short,
    to_integers,
)
from tff_pipeline.runtime.in_process import InProcessContext

KEY = b"sixteen bytes or"
TYPE = tff.types.to_type([(np.float32, (30, 20)), (np.float32, (20,))])
SIZE = 620
ZEROS = [np.zeros((30, 20), np.float32), np.zeros(20, np.float32)]
SIGNIFICANCE = 1e-6


def flat(value):
    return np.concatenate([np.ravel(part) for part in value])


def run(factory, rounds, clients):
    process = factory.create(TYPE)
    with InProcessContext(client_threads=2):
        state, results = process.initialize(), []
        for _ in range(rounds):
            output = process.next(state, list(clients))
            state = output.state
            results.append(flat(output.result))
    return np.array(results), state


@given(st.floats(1e-6, 2.0**23), st.floats(1e-6, 1e6))
@settings(max_examples=200, deadline=None)
def test_the_noise_is_not_less_than_was_asked_for(multiplier, bound):
    grid = Grid(bound, multiplier)
    assert grid.sensitivity >= 1
    # Python compares a float and a fraction of integers exactly.
    assert grid.sigma >= multiplier * grid.sensitivity * (1 - 2**-52)
    assert grid.sigma <= multiplier * grid.sensitivity + 1
    assert grid.sigma <= 2**24 + 1
    assert grid.step * grid.sensitivity == pytest.approx(bound)


def test_the_noise_over_the_sensitivity_in_exact_fractions():
    for multiplier in (0.1, 1 / 3, 0.7, 1.0, 1.1, 9.99):
        grid = Grid(1.0, multiplier)
        numerator, denominator = multiplier.as_integer_ratio()
        assert grid.sigma * denominator >= numerator * grid.sensitivity


@pytest.mark.parametrize("multiplier", [-1.0, math.nan, 1e9])
def test_noise_that_no_grid_has_is_refused(multiplier):
    with pytest.raises(ValueError, match="noise_multiplier="):
        Grid(1.0, multiplier)


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 300),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.sampled_from([1e-5, 0.3, 1.0, 77.0]),
    st.sampled_from([0.2, 1.0, 50.0]),
)
@settings(max_examples=60, deadline=None)
def test_no_update_is_longer_than_the_sensitivity(update, bound, multiplier):
    grid = Grid(bound, multiplier)
    integers = to_integers(grid, [tf.constant(update)]).numpy()
    # Of any size, as Python has them.
    assert sum(int(n) ** 2 for n in integers) <= grid.sensitivity**2


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_becomes_zeros(wrong):
    update = np.array([1.0, wrong], np.float32)
    assert not to_integers(Grid(1.0, 1.0), [tf.constant(update)]).numpy().any()


def test_the_sensitivity_is_nearly_reached_and_not_wasted():
    draw = np.random.default_rng(0)
    update = draw.normal(size=10_000).astype(np.float32)
    grid = Grid(0.5, 1.0)
    integers = to_integers(grid, [tf.constant(update)]).numpy()
    norm = math.sqrt(sum(int(n) ** 2 for n in integers))
    # Clipping stays 2^-16 below, and rounding towards 0 takes hardly more.
    assert 1 - 2**-14 < norm / grid.sensitivity <= 1


@pytest.mark.parametrize(
    ("integers", "short"),
    [
        ([2**24], True),
        ([2**24, 1], False),
        ([-(2**24) - 1], False),
        ([2**63 - 1], False),
        # Whose squares add up to 0 modulo 2^64.
        ([2**32, 2**32], False),
        ([2**31] * 4, False),
    ],
)
def test_lengths_are_compared_exactly(integers, short):
    grid = Grid(1.0, 1.0)
    assert grid.sensitivity == 2**24
    assert bool(is_short(grid, tf.constant(integers, tf.int64))) == short


def test_without_noise_the_mean_comes_back():
    draw = np.random.default_rng(1)
    clients = [
        [
            draw.normal(size=s).astype(np.float32) / 100
            for s in ((30, 20), (20,))
        ]
        for _ in range(5)
    ]
    (mean,), state = run(GridDpMeanFactory(Grid(1.0, 0.0), 5, KEY), 1, clients)
    expected = np.mean([flat(c) for c in clients], axis=0)
    np.testing.assert_allclose(mean, expected, atol=2e-7)
    assert state == 1


def test_the_mean_has_the_noise_that_was_asked_for():
    bound, multiplier, expected, rounds = 2.0, 1.5, 4, 30
    factory = GridDpMeanFactory(Grid(bound, multiplier), expected, KEY)
    released, _ = run(factory, rounds, [ZEROS] * 3)
    unit = multiplier * bound / expected
    statistic = np.sum(np.square(released, dtype=np.float64)) / unit**2
    law = stats.chi2(released.size)
    assert law.cdf(statistic) > SIGNIFICANCE
    assert law.sf(statistic) > SIGNIFICANCE
    correlation = np.corrcoef(released[:-1].ravel(), released[1:].ravel())[0, 1]
    bound = math.atanh(correlation) * math.sqrt(released[1:].size - 3)
    assert 2 * stats.norm.sf(abs(bound)) > SIGNIFICANCE


def test_nobody_s_mean_is_noise_alone():
    (mean,), _ = run(GridDpMeanFactory(Grid(1.0, 1.0), 4, KEY), 1, [])
    assert np.isfinite(mean).all() and mean.std() > 0.1


def test_a_round_that_is_run_again_releases_the_same_bits():
    factory = GridDpMeanFactory(Grid(1.0, 1.0), 2, KEY)
    one, _ = run(factory, 2, [ZEROS] * 2)
    # Another process would build it anew.
    other, _ = run(GridDpMeanFactory(Grid(1.0, 1.0), 2, KEY), 2, [ZEROS] * 2)
    np.testing.assert_array_equal(one, other)
    assert (one[0] != one[1]).any()


def test_noise_differs_by_key_round_and_sum():
    zeros = np.zeros(1000, np.int64)
    one = zeros.copy()
    one[0] = 1
    noises = [
        ExactNoise(KEY, 2**24).add(0, zeros),
        ExactNoise(KEY, 2**24).add(1, zeros),
        ExactNoise(b"another sixteen!", 2**24).add(0, zeros),
        # A sum that differs by a step has nothing in common with it, else
        # their difference would be free of noise.
        ExactNoise(KEY, 2**24).add(0, one),
    ]
    for i, first in enumerate(noises):
        for second in noises[:i]:
            correlation = np.corrcoef(first, second)[0, 1]
            bound = math.atanh(correlation) * math.sqrt(997)
            assert 2 * stats.norm.sf(abs(bound)) > SIGNIFICANCE


def test_what_is_not_float32_is_refused():
    with pytest.raises(TypeError, match="float32"):
        GridDpMeanFactory(Grid(1.0, 1.0), 2, KEY).create(
            tff.to_type([(np.float64, (3,))])
        )
