"""Exact noise: the paper's law, from fair bits, without a rounded number."""

import fractions
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

pytest.importorskip("cryptography")

from tff_pipeline import errors
from tff_pipeline.aggregators.private import exact_gaussian
from tff_pipeline.aggregators.private.key_stream import (
    KeyStream,
    derived,
)

# Fixed bytes: a test passes for good or never.
KEY = derived(b"sixteen bytes or", b"a test")
SIGNIFICANCE = 1e-6


def stream():
    return KeyStream(KEY).words


def law_of(sigma, reach):
    weights = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    return weights / weights.sum()


def assert_law(observed, expected):
    """Chi-square; cells too rare for one count together."""
    rare = expected < 10
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 10:
        observed[-2] += observed[-1]
        expected[-2] += expected[-1]
        observed, expected = observed[:-1], expected[:-1]
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, len(expected) - 1) > SIGNIFICANCE


# A power of two or not, and so large that only few cells are met twice.
@pytest.mark.parametrize("sigma", [1, 2, 3, 16, 100, 1000])
def test_the_law_is_that_of_the_discrete_gaussian(sigma):
    count = 400_000
    drawn = exact_gaussian.sample(stream(), sigma, count)
    reach = 12 * sigma
    assert drawn.dtype == np.int64 and np.abs(drawn).max() <= reach
    observed = np.bincount(drawn + reach, minlength=2 * reach + 1)
    assert_law(observed, count * law_of(sigma, reach))


def test_large_noise_has_the_law_of_the_continuous_one_to_its_steps():
    sigma, count = 2**24, 400_000
    drawn = exact_gaussian.sample(stream(), sigma, count) / sigma
    edges = np.linspace(-4.5, 4.5, 181)
    inside = np.diff(stats.norm.cdf(edges)) * count
    observed, _ = np.histogram(drawn, edges)
    observed = np.append(observed, count - observed.sum())
    assert_law(observed, np.append(inside, count - inside.sum()))
    # The lowest bits are fair, which those of rounded numbers need not be.
    low = exact_gaussian.sample(stream(), sigma, count) & 15
    assert_law(np.bincount(low, minlength=16), np.full(16, count / 16))


@pytest.mark.parametrize("sigma", [0, -1, 2**25 + 1, 1.5])
def test_another_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma="):
        exact_gaussian.sample(stream(), sigma, 1)


def test_no_numbers_are_drawn_of_none():
    assert exact_gaussian.sample(stream(), 5, 0).shape == (0,)


@pytest.mark.parametrize("numerator", [0, 1, 3, 7, 8])
def test_coins_come_up_with_the_probability_of_exp(numerator):
    count = 300_000
    up = exact_gaussian.with_probability_exp(
        stream(), np.full(count, numerator), 8
    ).sum()
    law = stats.binom(count, math.exp(-numerator / 8))
    assert law.cdf(up) > SIGNIFICANCE and law.sf(up - 1) > SIGNIFICANCE


@given(
    st.integers(1, 2**62),
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_no_remainder_has_more_words_than_another(limit, words):
    """A word beyond the last whole multiple of the limit is drawn again."""
    whole = 2**63 // limit * limit
    waiting = [*words, *[0] * len(words) * 3]
    taken = []

    def give(count):
        nonlocal waiting
        out, waiting = waiting[:count], waiting[count:]
        taken.extend(out)
        return np.array(out, np.uint64)

    found = exact_gaussian.below(give, limit, len(words))
    expected = [word >> 1 for word in words]
    spare = iter(taken[len(words) :])
    while any(number >= whole for number in expected):
        expected = [
            number if number < whole else next(spare) >> 1
            for number in expected
        ]
    assert found.tolist() == [number % limit for number in expected]


def test_numbers_of_any_size_are_compared_exactly():
    """Far out, where squares are no int64 any more, Python's integers are."""
    denominator = 2 * (2**24) ** 2
    numerators = np.array([0, 3 * denominator, 2**80], object)
    up = exact_gaussian._with_probability_exp(
        stream(), np.tile(numerators, 40_000), denominator
    ).reshape(-1, 3)
    assert up[:, 0].all() and not up[:, 2].any()
    law = stats.binom(40_000, math.exp(-3))
    count = up[:, 1].sum()
    assert law.cdf(count) > SIGNIFICANCE and law.sf(count - 1) > SIGNIFICANCE


def test_the_stream_is_aes_in_counter_mode():
    # FIPS 197, appendix C.3: the cipher on a block, here the counter's first.
    key = bytes(range(32))
    first = KeyStream(key).words(4)
    from cryptography.hazmat.primitives import ciphers

    ecb = ciphers.Cipher(
        ciphers.algorithms.AES(key), ciphers.modes.ECB()
    ).encryptor()
    blocks = ecb.update(bytes(16) + bytes(15) + b"\1")
    assert first.tobytes() == blocks
    # It goes on where it stopped.
    one = KeyStream(key)
    assert np.concatenate([one.words(1), one.words(3)]).tobytes() == blocks


def test_keys_of_other_purposes_are_others():
    keys = {
        derived(b"s" * 16, *purposes)
        for purposes in ((), (b"a",), (b"a", b"b"), (b"ab",), (b"b", b"a"))
    }
    assert len(keys) == 5
    assert derived(b"t" * 16) not in keys


@given(
    st.fractions(0, 1),
    st.integers(2, 12),
    st.fractions(fractions.Fraction(1, 1000), 1000),
)
@settings(max_examples=300, deadline=None)
def test_a_sample_s_larger_divergence_is_the_one_accounted_for(q, alpha, ratio):
    """Mironov, Talwar, Zhang 2019, theorem 5, for laws on the integers.

    P and Q are swapped by a reflection, so that E_P[h(Q / P)] is half of
    E_P[h(r) + r h(1 / r)]. For h(r) = m^alpha - m^(1 - alpha), the difference
    of the two directions, with m = 1 - q + q r, the sum in the brackets must
    not be negative for any ratio r of probabilities: exactly, in fractions.
    """

    def h(r):
        m = 1 - q + q * r
        return m**alpha - m ** (1 - alpha)

    assert h(ratio) + ratio * h(1 / ratio) >= 0


def test_without_cryptography_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "cryptography.hazmat.primitives.ciphers", None
    )
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(errors.ConfigError, match=r"tff-pipeline\[secure_sum\]"):
        KeyStream(KEY)
