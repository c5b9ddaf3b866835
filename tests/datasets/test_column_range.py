"""The range of a column that people are told, in which nobody's number is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline.datasets.readers.column_range import Range, usual


def drawn(count, seed=0):
    return np.random.default_rng(seed).normal(54, 9, count)


def test_ends_are_rounded_percentiles():
    found = usual(drawn(10_000))
    low, high = np.percentile(drawn(10_000), [1, 99])
    assert (found.low, found.high) == (np.floor(low), np.ceil(high))
    assert not found.whole
    assert usual(np.round(drawn(10_000))).whole


@pytest.mark.parametrize("count", [200, 1000, 5000])
def test_at_each_end_or_beyond_lie_as_many_as_a_category_needs(count):
    values = drawn(count)
    # Values of nine people, however far they are.
    values[:9], values[9:18] = 98_765.4, -98_765.4
    found = usual(values)
    assert -50 < found.low < found.high < 150
    assert np.sum(values >= found.high - 1) >= 10
    assert np.sum(values <= found.low + 1) >= 10
    # Of fewer than twenty times as many, mean and deviation are told alone.
    if count < 20 * 100:
        return
    assert usual(values, 100).high < found.high


def test_of_few_numbers_mean_and_deviation_are_told():
    values = np.array([10.0, 20.0, 30.0])
    around = 3 * np.std(values)
    found = usual(values)
    # Rounded outward, to whole numbers here; below 0 there was none.
    assert found == Range(0, np.ceil(20 + around), True)
    assert usual(values - 15).low == np.floor(5 - around)


@pytest.mark.parametrize(
    "values",
    [[], [np.nan], [5.0], [5.0] * 500, [0.0] * 497 + [1.0] * 3, [np.inf, 1.0]],
)
def test_what_does_not_differ_has_no_range(values):
    assert usual(np.array(values)) is None


def test_flags_and_small_counts_keep_their_values():
    flags = np.array([0.0, 1.0] * 200)
    assert usual(flags) == Range(0, 1, True)
    assert usual(np.arange(400) % 4 / 10) == Range(0, 0.3, False)


@given(
    st.lists(
        st.floats(-1e15, 1e15, allow_subnormal=False), min_size=1, max_size=600
    ),
    st.integers(1, 20),
)
def test_ends_hold_the_middle_of_any_numbers(values, least):
    values = np.array(values)
    found = usual(values, least)
    if found is None:
        return
    assert found.low < found.high
    assert found.low <= np.median(values) <= found.high
    inside = (values >= found.low) & (values <= found.high)
    # Outside of three deviations lie a ninth at most (Chebyshev).
    assert np.mean(inside) >= 8 / 9 - 1e-9 or np.mean(inside) >= 0.9


def test_an_end_is_nobodys_number():
    values = drawn(3000)
    found = usual(values)
    assert found.low not in values
    assert found.high not in values
