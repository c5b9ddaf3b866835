"""Puts clipped updates on a grid of integers whose sums get exact noise.

Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy":
a vector of integers with discrete Gaussian noise of sigma has the Renyi
divergences of the Gaussian mechanism or less, at most
alpha Delta^2 / (2 sigma^2) for a sensitivity Delta in L2 (theorem 14). Here
Delta and sigma are whole numbers of steps, so that their ratio is what it is
said to be and no floating-point number is part of the proof. Needs no
TensorFlow.
"""

import dataclasses
import fractions
import functools
import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.aggregators.private import exact_gaussian
from tff_pipeline.aggregators.private.key_stream import KeyStream, derived

Array = npt.NDArray[Any]

# The steps of a clip, or of the noise where that is more. Squared norms, and
# squares of noise, are then int64.
_STEPS = 2**24
# With more noise a clip would be no step.
LARGEST_MULTIPLIER = 2.0**23


@dataclasses.dataclass(frozen=True)
class Grid:
    """Grid and noise of sums of clipped updates.

    >>> grid = Grid(0.5, noise_multiplier=1.25)
    >>> grid.sensitivity, grid.sigma
    (13421772, 16777215)

    Attributes:
      bound: The clip, the largest L2 norm of an update.
      noise_multiplier: Standard deviation of the noise over the clip, 0 for
        none; what there is may be a trifle more, and is not less.
    """

    bound: float
    noise_multiplier: float

    def __post_init__(self) -> None:
        """Raises `ValueError` if the noise is too much for a grid."""
        if not 0 <= self.noise_multiplier <= LARGEST_MULTIPLIER:
            raise ValueError(
                f"noise_multiplier={self.noise_multiplier}: must be from 0 to "
                f"{LARGEST_MULTIPLIER:.0f}."
            )

    @functools.cached_property
    def sensitivity(self) -> int:
        """The largest L2 norm of a client's integers, in steps."""
        return math.floor(_STEPS / max(1.0, self.noise_multiplier))

    @property
    def sigma(self) -> int:
        """Sigma of the noise, in steps; 0 is none."""
        # Exact, so that it is rounded up and never down.
        exact = fractions.Fraction(self.noise_multiplier) * self.sensitivity
        return math.ceil(exact)

    @property
    def step(self) -> float:
        """The distance between two integers, in the updates' units."""
        return self.bound / self.sensitivity


class ExactNoise:
    """Adds discrete Gaussian noise to the sums of all rounds.

    The noise is a function of the key, of the round's number and of the sum. A
    round that is run again and comes to the same sum releases the same integers
    again and gives nothing more away; if it comes to another sum, as on another
    machine, its noise is another one too, so that the difference of the two
    releases is not free of noise.
    """

    def __init__(self, key: bytes, sigma: int):
        """Takes the key and the size of the noise.

        Args:
          key: At least 16 bytes of a secure source, known to nobody who sees
            what is released; another run must have others.
          sigma: Sigma in steps, 1 or above.
        """
        self._key = key
        self._sigma = sigma

    def add(self, number: Any, total: Array) -> Array:
        """Adds a round's noise to its sum.

        Args:
          number: The round's number, an integer of at least 0.
          total: The sum, int64 [n].

        Returns:
          int64 [n].
        """
        octets = np.ascontiguousarray(total, "<i8").tobytes()
        key = derived(
            self._key,
            int(number).to_bytes(8, "little"),
            hashlib.sha256(octets).digest(),
        )
        stream = KeyStream(key)
        return total + exact_gaussian.sample(
            stream.words, self._sigma, len(total)
        )
