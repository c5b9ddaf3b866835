"""Draws from the discrete Gaussian exactly: integers in, integers out.

Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy",
algorithms 1 to 3, many numbers at once. No number is rounded and no function
but comparison is computed, so that given fair bits every integer k has the
probability exp(-k^2 / (2 sigma^2)) / (its sum over all k), and not nearly so.
`discrete_gaussian` draws the same in a TensorFlow graph, in float64.

How long it takes depends on what is drawn, as with every sampler by rejection.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Gives the number of uint64 words that it is asked for, of fair bits.
Words = Callable[[int], Array]

# Squares of numbers of so many sigma, in units of 2 sigma^2, are int64.
LARGEST_SIGMA = 2**25
_WORD = 2**63
# So many numbers at once stay in the processor's cache.
_BATCH = 2**16
# Of the draws from the Laplace distribution that many or more stay.
_STAY = 0.48
# Beyond it numbers are computed with as Python has them, of any size.
_LARGEST_QUICK = 2**31


def sample(words: Words, sigma: int, count: int) -> Array:
    """Draws independent numbers of a discrete Gaussian around 0.

    Algorithm 3, by rejection from the discrete Laplace distribution of scale
    sigma.

    Args:
      words: Gives random words.
      sigma: Sigma, a whole number from 1 to `LARGEST_SIGMA`.
      count: The number of draws.

    Returns:
      int64 [count].

    Raises:
      ValueError: If sigma is another number.
    """
    if not 1 <= sigma <= LARGEST_SIGMA or sigma != int(sigma):
        raise ValueError(
            f"sigma={sigma}: must be a whole number from 1 to {LARGEST_SIGMA}."
        )
    parts, left = [], count
    while left > 0:
        drawn = _laplace(words, sigma, min(_BATCH, int(left / _STAY) + 16))
        away = np.abs(drawn) - sigma
        if away.size and int(np.max(np.abs(away))) >= _LARGEST_QUICK:
            away = away.astype(object)
        stay = _with_probability_exp(words, away * away, 2 * sigma * sigma)
        parts.append(drawn[stay][:left])
        left -= len(parts[-1])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def below(words: Words, limit: int, count: int) -> Array:
    """Draws independent numbers, each from 0 to below a limit as likely.

    Args:
      words: Gives random words.
      limit: At least 1 and at most 2^62.
      count: The number of draws.

    Returns:
      int64 [count].
    """
    # Of the words' numbers, those that every remainder has as many of.
    whole = _WORD // limit * limit
    numbers = (words(count) >> np.uint64(1)).astype(np.int64)
    late = np.flatnonzero(numbers >= whole)
    while late.size:
        numbers[late] = (words(late.size) >> np.uint64(1)).astype(np.int64)
        late = late[numbers[late] >= whole]
    return numbers % limit


def with_probability_exp(
    words: Words, numerators: Array, denominator: int
) -> Array:
    """Tosses coins that come up with probability exp(-n / d), n at most d.

    Algorithm 1 for what is from 0 to 1: of coins with probability n / (d k), k
    from 1 on, how many come up before one does not.

    Args:
      words: Gives random words.
      numerators: The n of each coin, int64 [count], from 0 to d.
      denominator: Their d, at least 1 and at most 2^52.

    Returns:
      bool [count].
    """
    result = np.zeros(len(numerators), bool)
    going = np.arange(len(numerators))
    k = 1
    # Coin k comes up with probability 1 / k at most: nobody lives to see a
    # d k that does not fit.
    while going.size:
        up = below(words, denominator * k, going.size) < numerators[going]
        if k % 2:
            result[going[~up]] = True
        going = going[up]
        k += 1
    return result


def _with_probability_exp(
    words: Words, numerators: Array, denominator: int
) -> Array:
    """Tosses such coins whatever n: exp(-n / d) is a product of such.

    Args:
      words: Gives random words.
      numerators: The n of each coin, int64 or Python's integers, 0 or above.
      denominator: Their d.

    Returns:
      bool [count].
    """
    wholes = numerators // denominator
    rest = (numerators - wholes * denominator).astype(np.int64)
    result = with_probability_exp(words, rest, denominator)
    going = np.flatnonzero(result & (wholes > 0))
    tossed = 0
    while going.size:
        up = with_probability_exp(words, np.ones(going.size, np.int64), 1)
        result[going[~up]] = False
        tossed += 1
        going = going[up]
        going = going[wholes[going] > tossed]
    return result


def _laplace(words: Words, scale: int, count: int) -> Array:
    """Draws of a discrete Laplace distribution; some of `count` are rejected.

    Algorithm 2: what is left over of the scale, as often as exp says, plus as
    many scales as coins of probability exp(-1) come up in a row, either sign.
    """
    rest = below(words, scale, count)
    rest = rest[with_probability_exp(words, rest, scale)]
    scales = np.zeros(len(rest), np.int64)
    going = np.arange(len(rest))
    while going.size:
        up = with_probability_exp(words, np.ones(going.size, np.int64), 1)
        going = going[up]
        scales[going] += 1
    magnitude = rest + scale * scales
    negative = (words(len(rest)) & np.uint64(1)).astype(bool)
    # 0 must not come with either sign.
    signed = np.where(negative, -magnitude, magnitude)
    return signed[~(negative & (magnitude == 0))]
