"""Formulas of papers that figures are compared with."""

import math

from scipy import special


def gaussian_delta(noise, epsilon):
    """Balle and Wang 2018, theorem 8, for sensitivity 1."""
    phi = special.ndtr
    return phi(0.5 / noise - epsilon * noise) - math.exp(epsilon) * phi(
        -0.5 / noise - epsilon * noise
    )
