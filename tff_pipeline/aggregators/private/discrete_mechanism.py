"""Computes grid and privacy of the distributed discrete Gaussian mechanism.

Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation": clients round their clipped updates
to a grid, each adds noise of its own, and the server learns no more than the
sum modulo a power of two. `aggregators.private.distributed` computes it; here
is what it gives away in a round. Needs no TensorFlow.

Adjacency: a client's update is replaced by zeros, to which the client still
adds its noise (`REPLACE_SPECIAL` in `accounting`, where the sensitivity is 1).
Where a client may be replaced by another, halve the noise multiplier.

What is proven is concentrated differential privacy, a bound on Renyi
divergences and on nothing else. So the effective noise multiplier is for the
accountants "rdp" and "rdp_classic" and for rounds without amplification by
sampling; what "pld", or any accountant of a sampled Gaussian, says of it is not
proven for a sum of discrete ones.
"""

import dataclasses
import functools
import math
from typing import Optional

import numpy as np

MAX_BITS = 30
# Proposition 14 holds from here on, in steps.
_LEAST_STDDEV = 0.5
# Where less of the noise counts, there are too few bits.
_LEAST_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """Describes how updates become integers, and the noise that clients add.

    A step is the distance from one integer to the next. Of an update of 1,000
    numbers, with the standard deviation 1 clip on the sum of 100 clients:

    >>> mechanism = Mechanism(1.0, 1.0, dimension=1000, expected_clients=100)
    >>> mechanism.padded, mechanism.modulus
    (1024, 1048576)
    >>> round(mechanism.effective_noise_multiplier(), 4)
    1.0

    Attributes:
      noise_multiplier: Standard deviation of the sum's noise over `bound`, if
        as many clients come as are expected; 0 is none.
      bound: The clip, the largest L2 norm of an update.
      dimension: The count of numbers in an update.
      expected_clients: The count of clients that share the noise.
      bits: The size of a number that is sent, at most 30.
      beta: The largest probability with which a rounding is too long and drawn
        again; 0 bounds it so loosely that none is. By default the paper's.
      modular_clips: Standard deviations from 0 to where sums wrap around.
    """

    noise_multiplier: float
    bound: float
    dimension: int
    expected_clients: int
    bits: int = 20
    beta: float = math.exp(-0.5)
    modular_clips: float = 4.0

    def __post_init__(self) -> None:
        """Raises `ValueError` if a number is not one of those allowed."""
        for name, allowed, holds in (
            (
                "noise_multiplier",
                "finite, 0 or above",
                0 <= self.noise_multiplier < math.inf,
            ),
            ("bound", "finite and above 0", 0 < self.bound < math.inf),
            ("dimension", "1 or above", self.dimension >= 1),
            ("expected_clients", "1 or above", self.expected_clients >= 1),
            ("bits", f"1 to {MAX_BITS}", 1 <= self.bits <= MAX_BITS),
            ("beta", "0 or above and below 1", 0 <= self.beta < 1),
            (
                "modular_clips",
                "finite and above 0",
                0 < self.modular_clips < math.inf,
            ),
        ):
            if not holds:
                raise ValueError(
                    f"{name}={getattr(self, name)}: must be {allowed}."
                )

    @property
    def padded(self) -> int:
        """The dimension of the vector that is sent, a power of two."""
        return 1 << (self.dimension - 1).bit_length()

    @property
    def modulus(self) -> int:
        """The number modulo which integers are added, a power of two."""
        return 1 << self.bits

    @functools.cached_property
    def granularity(self) -> float:
        """The paper's gamma: the size of a step in the updates' units.

        It is the finest with which sums rarely wrap around (section 4): a
        coordinate of the rotated sum of n updates is sub-Gaussian with variance
        c^2 n^2 / d, and rounding adds up to n gamma^2 / 4 and noise n sigma^2;
        2^bits steps are `modular_clips` such standard deviations either way.
        Infinite if the bits do not hold what rounding alone adds.
        """
        of_rounding = self.expected_clients * self.modular_clips**2
        if 4**self.bits <= of_rounding:
            return math.inf
        of_updates = (self.bound * self.expected_clients) ** 2 / self.padded
        of_noise = (self.noise_multiplier * self.bound) ** 2
        return (2 * self.modular_clips) * math.sqrt(
            (of_updates + of_noise) / (4**self.bits - of_rounding)
        )

    @property
    def local_stddev(self) -> float:
        """Sigma of a client's noise, in steps.

        The standard deviation of a discrete Gaussian is less by a share of
        1e-6 at most if sigma is 1 or above.
        """
        of_sum = self.noise_multiplier * self.bound / self.granularity
        return of_sum / math.sqrt(self.expected_clients)

    @property
    def norm_bound(self) -> float:
        """The largest L2 norm of a client's rounded vector, in steps.

        Algorithm 1; the square root of Delta_2^2 of theorem 1, over gamma.
        """
        norm, root = self.bound / self.granularity, math.sqrt(self.padded)
        always = norm + root
        if not self.beta:
            return always
        slack = math.sqrt(-2 * math.log(self.beta)) * (norm + root / 2)
        return min(always, math.sqrt(norm**2 + self.padded / 4 + slack))

    def effective_noise_multiplier(
        self, clients: Optional[int] = None
    ) -> float:
        """Returns the noise multiplier of a Gaussian that bounds this.

        The Renyi divergences of that one are at least those of this mechanism.
        The docstring of the module says what it may be used for.

        Args:
          clients: The count of clients that surely come, if that is fewer than
            are expected: with each that does not come, its share of the noise
            is gone.

        Returns:
          At most the noise multiplier; 0 if nothing is proven.
        """
        if self.local_stddev < _LEAST_STDDEV:
            return 0.0
        bound, dimension = self.norm_bound, self.padded
        # The second, because an integer is at most its square.
        l1 = bound * min(math.sqrt(dimension), bound)
        return 1 / concentrated_epsilon(
            bound,
            l1,
            self.local_stddev,
            dimension,
            min(clients or self.expected_clients, self.expected_clients),
        )

    def check(self) -> None:
        """Refuses a grid that is too coarse.

        It is if sums do not fit, or if, with noise, half of the noise
        multiplier or more is lost to rounding and to the noise's discreteness.

        Raises:
          ValueError: If more bits are needed; the sentence says how many.
        """
        if self._is_fine():
            return
        enough = (
            bits
            for bits in range(self.bits + 1, MAX_BITS + 1)
            if dataclasses.replace(self, bits=bits)._is_fine()
        )
        needed = next(enough, None)
        raise ValueError(
            f"bits={self.bits} are too few for {self.expected_clients} clients,"
            f" {self.dimension} numbers and a noise multiplier of "
            f"{self.noise_multiplier}: "
            + (
                f"at least {needed} are needed."
                if needed
                else f"not even {MAX_BITS} would do."
            )
        )

    def _is_fine(self) -> bool:
        if not math.isfinite(self.granularity):
            return False
        least = _LEAST_SHARE * self.noise_multiplier
        return not least or self.effective_noise_multiplier() > least


def tau(local_stddev: float, clients: int) -> float:
    """Bounds how far a sum of discrete Gaussians is from being one.

    Theorem 1: 10 times the sum, over k below n, of
    exp(-2 pi^2 sigma^2 k / (k + 1)).

    >>> tau(2.0, 1)
    0.0

    Args:
      local_stddev: Sigma of each, in steps.
      clients: The count n of those that are added.
    """
    k = np.arange(1, clients)
    exponents = -2 * (math.pi * local_stddev) ** 2 * k / (k + 1)
    return 10 * float(np.exp(exponents).sum())


def concentrated_epsilon(
    l2: float, l1: float, local_stddev: float, dimension: int, clients: int
) -> float:
    """Returns epsilon of (epsilon^2 / 2)-concentrated differential privacy.

    Proposition 14 has three bounds on the Renyi divergence of order alpha. Two
    are alpha / 2 times the square of an epsilon; in the third the excess
    tau d does not grow with alpha, and is bounded here by alpha tau d.

    Args:
      l2: The largest L2 norm of a client's integers.
      l1: Their largest L1 norm.
      local_stddev: Sigma of each client's noise; at least 1/2.
      dimension: The length of the vector.
      clients: The count of clients that add noise.
    """
    stddev = math.sqrt(clients) * local_stddev
    excess = tau(local_stddev, clients)
    return min(
        math.sqrt((l2 / stddev) ** 2 + 2 * excess * dimension),
        math.sqrt(
            (l2 / stddev) ** 2
            + 2 * (l1 / stddev) * excess
            + excess**2 * dimension
        ),
        l2 / stddev + excess * math.sqrt(dimension),
    )
