"""Judges delta, the probability with which a guarantee may fail.

A mechanism that publishes one client of a population, drawn at random, whole,
keeps the promise of delta = 1 / population: such a delta protects nobody
(Dwork and Roth 2014, section 2.3). Needs no TensorFlow.
"""

import math
from typing import Optional

from tff_pipeline import errors

# So rarely that an officer may call it an exception, however few there are.
LARGEST = 0.01


def default(population: int) -> float:
    """Returns population**-1.1, as McMahan et al. 2018 chose it.

    >>> round(default(1000), 6)
    0.000501

    Args:
      population: The count of clients.
    """
    return float(max(population, 2)) ** -1.1


def is_large(delta: float, population: int) -> bool:
    """Says whether delta is too large for anything to be called private.

    >>> is_large(1e-5, 1000), is_large(1e-3, 1000), is_large(default(6), 6)
    (False, True, True)

    Args:
      delta: The probability that is left out.
      population: The count of those who are protected.
    """
    return delta * population >= 1 or delta > LARGEST


def settled(
    given: Optional[float],
    population: int,
    *,
    flag: str,
    unit: str = "clients",
    allow_large: bool = False,
) -> float:
    """Returns the delta that was given, or the default.

    Args:
      given: The flag's value, or `None`.
      population: The count of those who are protected.
      flag: The flag's name.
      unit: The word for those who are protected.
      allow_large: Whether --dp_allow_large_delta is given.

    Raises:
      ConfigError: If it is too large, and that is not allowed.
    """
    delta = default(population) if given is None else given
    if allow_large or not is_large(delta, population):
        return delta
    named = f"--{flag}={given}"
    if given is None:
        named = f"--{flag} is not set and its default {delta:.3g}"
    why = (
        f"is 1 / {population} {unit} or more"
        if delta * population >= 1
        else f"is above {LARGEST:g}, too much for {population} {unit}"
    )
    raise errors.ConfigError(
        f"{named} {why}, so that the promise may fail for a whole one of them; "
        f"give --{flag}={_advised(population):g}, or --dp_allow_large_delta to "
        "simulate what nothing then calls private."
    )


def _advised(population: int) -> float:
    """Returns a power of ten that is far below 1 / population."""
    return float(10.0 ** min(-5, -math.ceil(math.log10(population)) - 1))
