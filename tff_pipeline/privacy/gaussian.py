"""States what is known in closed form of one Gaussian mechanism.

All rounds of noise that no sampling amplifies are one such mechanism. The unit
of its noise is the sensitivity. Needs no TensorFlow.
"""

import math

from scipy import optimize, special

# Wider than any noise or epsilon that is asked for.
_LARGEST_LOGARITHM = 60.0


def delta(noise_multiplier: float, epsilon: float) -> float:
    """Computes the least delta that goes with epsilon.

    Balle and Wang 2018, "Improving the Gaussian mechanism", theorem 8.

    >>> round(delta(1.0, 1.0), 4)
    0.1269

    Args:
      noise_multiplier: Standard deviation over sensitivity; above 0.
      epsilon: At least 0.
    """
    half, shift = 0.5 / noise_multiplier, epsilon * noise_multiplier
    # The second term is a product of what overflows and what vanishes.
    second = epsilon + special.log_ndtr(-half - shift)
    return float(special.ndtr(half - shift) - math.exp(min(second, 0.0)))


def epsilon(noise_multiplier: float, delta_left: float) -> float:
    """Computes the least epsilon that goes with delta.

    >>> round(epsilon(1.0, 1e-5), 3)
    4.377

    Args:
      noise_multiplier: Standard deviation over sensitivity; above 0.
      delta_left: The probability that is left out; above 0 and below 1.

    Returns:
      At least 0, and never less than what delta needs.
    """

    def excess(value: float) -> float:
        return delta(noise_multiplier, value) - delta_left

    if excess(0.0) <= 0:
        return 0.0
    # Where the first term alone is no more than delta.
    most = (
        0.5 / noise_multiplier - special.ndtri(delta_left)
    ) / noise_multiplier
    most = max(most, 1e-300) * (1 + 1e-9)
    if excess(most) > 0:
        return float(most)
    found = optimize.brentq(excess, 0.0, most, xtol=1e-300, rtol=1e-12)
    # Rounded to the safe side.
    return float(min(found * (1 + 1e-9), most))


def noise_multiplier(target_epsilon: float, delta_left: float) -> float:
    """Computes the noise multiplier for which `epsilon` is the target.

    >>> round(noise_multiplier(4.377, 1e-5), 3)
    1.0

    Args:
      target_epsilon: At least 0.
      delta_left: The probability that is left out; above 0 and below 1.
    """

    def excess(logarithm: float) -> float:
        return delta(math.exp(logarithm), target_epsilon) - delta_left

    ends = -_LARGEST_LOGARITHM, _LARGEST_LOGARITHM
    return math.exp(optimize.brentq(excess, *ends, xtol=1e-12))
