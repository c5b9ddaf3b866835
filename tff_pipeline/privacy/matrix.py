"""Finds the banded matrix whose noise hurts all partial sums of rounds least.

Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization: A unified
approach to private training": noise C^-1 z on the rounds' sums leaves A C^-1 z
in the models, where A sums up. Among matrices C of as many bands as there are
rounds between two participations of a client, the one is sought for which that
noise is least, for a given sensitivity; here C is Toeplitz, which for many
rounds loses little (Kalinin and Lampert 2024, "Banded Square Root Matrix
Factorization for Differentially Private Model Training").
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, signal

Array = npt.NDArray[Any]


@functools.cache
def coefficients(rounds: int, bands: int) -> tuple[float, ...]:
    """Finds the first column of the best C, as far as it is not 0.

    >>> coefficients(100, 1)
    (1.0,)

    Args:
      rounds: The run's rounds.
      bands: The largest count of numbers; 1 is independent noise.

    Returns:
      Numbers of norm 1, so that a client moves what is released by the clip for
      each time that it takes part.
    """
    bands = min(bands, rounds)
    # Where the search starts: the root of the matrix that sums up.
    root = np.cumprod([1.0, *((k - 0.5) / k for k in range(1, bands))])
    if bands == 1:
        return (1.0,)
    result = optimize.minimize(
        _loss, root[1:], args=(rounds,), jac=True, method="L-BFGS-B"
    )
    best = min(root[1:], result.x, key=lambda tail: _loss(tail, rounds)[0])
    column = np.array([1.0, *best])
    return tuple(column / np.linalg.norm(column))


def mean_variance(column: tuple[float, ...], rounds: int) -> float:
    """Computes the variance of a coordinate of the model's noise.

    Independent noise adds up: after 1, 2 and 3 rounds it is 1, 2 and 3.

    >>> mean_variance((1.0,), 3)
    2.0

    Args:
      column: The first column of C.
      rounds: The run's rounds.

    Returns:
      The mean over all rounds, in units of the square of noise multiplier times
      clip, for a server of plain steps at rate 1 and sums in place of means.
    """
    sums = _partial_sums(np.asarray(column), rounds)
    return float(np.cumsum(sums**2).mean())


def _partial_sums(column: Array, rounds: int) -> Array:
    """Computes the first column of A C^-1, [rounds]."""
    return signal.lfilter([1.0], column, np.ones(rounds))


def _loss(tail: Array, rounds: int) -> tuple[float, Array]:
    """Computes the mean variance's log at sensitivity 1, and its gradient."""
    column = np.array([1.0, *tail])
    sums = _partial_sums(column, rounds)
    left = np.arange(rounds, 0, -1)  # In how many models each number is.
    variance, square = np.sum(left * sums**2), np.sum(column**2)
    # d sums / d column[k] is this, k rounds later.
    change = -signal.lfilter([1.0], column, sums)
    gradient = [
        2 * np.sum(left[k:] * sums[k:] * change[: rounds - k]) / variance
        for k in range(1, len(column))
    ]
    return (
        float(np.log(variance) + np.log(square)),
        np.array(gradient) + 2 * tail / square,
    )
