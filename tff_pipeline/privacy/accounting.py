"""Computes epsilon of a setting, and the noise that a target epsilon needs.

`setting` defines both. Needs no TensorFlow.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, Optional

import dp_accounting
import numpy as np
import numpy.typing as npt
from dp_accounting import pld, rdp

from tff_pipeline import errors
from tff_pipeline.config.privacy import ACCOUNTANTS
from tff_pipeline.privacy.setting import Setting, check_name

Array = npt.NDArray[Any]

# Of these, what is known is bounds on Renyi divergences, and on nothing else.
_RENYI_ONLY = ("distributed",)


# How finely privacy losses are told apart, always rounded to the safe side: in
# standard deviations of a round's loss, and at most. With these epsilon is less
# than 0.1% too high.
_LOSS_STEP = 0.05
_LARGEST_LOSS_STEP = 1e-3
# Above it, losses are too many to be told apart; a bound will do.
_LARGEST_EXACT = 100.0
# Quick ones, for a bound.
FEW_ORDERS = (*range(2, 33), 48, 64, 128, 256, 512)
_LARGEST_MULTIPLIER = 1e4
_TOLERANCE = 2e-3  # How far a target epsilon may be undershot, relatively.


def check_delta(delta: float) -> None:
    """Checks that delta is a probability that may be left out.

    Args:
      delta: The value of --delta.

    Raises:
      ConfigError: Unless it lies between 0 and 1.
    """
    if not 0 < delta < 1:
        raise errors.ConfigError(
            f"--delta={delta}: must be above 0 and below 1, such as "
            "1/population**1.1."
        )


def finite(epsilon: float) -> Optional[float]:
    """Returns `None` in the place of an infinite epsilon, which JSON lacks.

    >>> finite(1.5), finite(math.inf)
    (1.5, None)

    Args:
      epsilon: At least 0.
    """
    return epsilon if math.isfinite(epsilon) else None


def default_delta(population: int) -> float:
    """Returns population**-1.1, as McMahan et al. 2018 chose it.

    >>> round(default_delta(1000), 6)
    0.000501

    Args:
      population: The count of clients.
    """
    return float(max(population, 2)) ** -1.1


def default_accountant(setting: Setting) -> str:
    """Returns the tightest accountant that knows the setting.

    Args:
      setting: The mechanism, the sampling and the counts.
    """
    uniform = setting.amplified and setting.sampling == "uniform"
    known = setting.mechanism not in _RENYI_ONLY
    return "pld" if known and not uniform else "rdp"


def epsilon(
    setting: Setting,
    noise_multiplier: float,
    delta: float,
    accountant: Optional[str] = None,
    orders: Optional[Sequence[float]] = None,
) -> float:
    """Computes epsilon of (epsilon, delta)-differential privacy.

    The intermediate results of a setting are kept, so that other numbers of
    rounds of the same setting are quick.

    >>> tree = Setting("tree_restart", "shuffled", 100, 10, rounds=10)
    >>> round(epsilon(tree, 8.0, 1e-5), 3)
    0.926

    Args:
      setting: The mechanism, the sampling and the counts.
      noise_multiplier: Standard deviation over sensitivity; at least 0.
      delta: The probability that is left out.
      accountant: One of `ACCOUNTANTS`; by default `default_accountant`.
      orders: The orders of Renyi divergences, if not dp-accounting's.

    Returns:
      At least 0; infinite without noise.

    Raises:
      ConfigError: If a number is out of range, or the accountant does not know
        the sampling.
    """
    accountant = accountant or default_accountant(setting)
    check_name("accountant", accountant, ACCOUNTANTS)
    check_delta(delta)
    if not (math.isfinite(noise_multiplier) and noise_multiplier >= 0):
        raise errors.ConfigError(
            f"--noise_multiplier={noise_multiplier}: must be a finite number, "
            "0 or above."
        )
    if noise_multiplier == 0:
        return math.inf
    check_accountant(setting, accountant)
    event, times = setting.events(noise_multiplier)
    if accountant == "pld":
        bound = epsilon(setting, noise_multiplier, delta, "rdp", FEW_ORDERS)
        if bound > _LARGEST_EXACT:
            return epsilon(setting, noise_multiplier, delta, "rdp", orders)
        losses = _losses(event).self_compose(times)
        return float(losses.get_epsilon_for_delta(delta))
    if accountant == "zcdp":
        # Bun and Steinke 2016, proposition 1.3.
        rho = 0.5 / event.noise_multiplier**2
        return rho + 2 * math.sqrt(-rho * math.log(delta))
    alphas, divergences = _divergences(
        event, setting.adjacency, None if orders is None else tuple(orders)
    )
    divergences = times * divergences
    if setting.amplified and setting.sampling == "uniform":
        # The bound for a sample may be above that for everyone in every round,
        # which holds as well: a sample's output is a mixture of such.
        everyone = times * alphas / (2 * noise_multiplier**2)
        divergences = np.minimum(divergences, everyone)
    if accountant == "rdp":
        return rdp.compute_epsilon(alphas, divergences, delta)[0]
    # Mironov 2017, proposition 3.
    bounds = divergences - math.log(delta) / (alphas - 1)
    return float(max(0.0, np.min(bounds)))


@functools.lru_cache(maxsize=8)
def _losses(event: dp_accounting.DpEvent) -> Any:
    """Computes the privacy loss distribution of an event."""
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        noise, probability = event.event, event.sampling_probability
    else:
        noise, probability = event, 1.0
    # Nearly; from the divergence of order 2.
    square = min(noise.noise_multiplier**-2, 20.0)
    stddev = probability * math.sqrt(math.expm1(square))
    # Without sampling, a Gaussian's loss is the same for all adjacencies.
    return pld.privacy_loss_distribution.from_gaussian_mechanism(
        noise.noise_multiplier,
        sampling_prob=probability,
        value_discretization_interval=min(
            _LARGEST_LOSS_STEP, _LOSS_STEP * stddev
        ),
    )


@functools.lru_cache(maxsize=8)
def _divergences(
    event: dp_accounting.DpEvent,
    adjacency: dp_accounting.NeighboringRelation,
    orders: Optional[tuple[float, ...]],
) -> tuple[Array, Array]:
    """Computes an event's Renyi divergences: (orders, divergences)."""
    accounted = rdp.RdpAccountant(orders, adjacency).compose(event)
    return accounted.orders, accounted.rdp


def check_accountant(setting: Setting, accountant: str) -> None:
    """Checks that an accountant knows a setting.

    Args:
      setting: The mechanism, the sampling and the counts.
      accountant: One of `ACCOUNTANTS`.

    Raises:
      ConfigError: If it does not.
    """
    if accountant == "pld" and setting.mechanism in _RENYI_ONLY:
        raise errors.ConfigError(
            f"--accountant=pld does not know --mechanism={setting.mechanism}; "
            "use --accountant=rdp."
        )
    if not setting.amplified:
        return
    if accountant == "pld" and setting.sampling == "uniform":
        raise errors.ConfigError(
            "--accountant=pld does not know --sampling=uniform; use "
            "--accountant=rdp, or --sampling=poisson."
        )
    if accountant == "zcdp":
        raise errors.ConfigError(
            "--accountant=zcdp does not know what sampling gains, with "
            f"--sampling={setting.sampling}; use --accountant=rdp."
        )


def noise_multiplier(
    setting: Setting,
    target_epsilon: float,
    delta: float,
    accountant: Optional[str] = None,
    orders: Optional[Sequence[float]] = None,
) -> float:
    """Finds a noise multiplier whose epsilon is the target or up to 0.2% below.

    Args:
      setting: The mechanism, the sampling and the counts.
      target_epsilon: The epsilon that must not be exceeded; above 0.
      delta: The probability that is left out.
      accountant: One of `ACCOUNTANTS`; by default `default_accountant`.
      orders: The orders of Renyi divergences, if not dp-accounting's.

    Raises:
      ConfigError: If no noise multiplier up to 10,000 keeps the target.
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0):
        raise errors.ConfigError(
            f"--target_epsilon={target_epsilon}: must be a finite number "
            "above 0."
        )

    @functools.cache
    def excess(logarithm: float) -> float:
        """Returns the logarithm of epsilon over the target."""
        value = epsilon(setting, math.exp(logarithm), delta, accountant, orders)
        # Both ends must be finite for the root's search.
        return math.log(min(max(value, 1e-12), 1e12) / target_epsilon)

    # Secants: in logarithms, epsilon is nearly a falling line. They aim within
    # the tolerance, so that what they hit is on the safe side.
    if orders is None:
        # Quick, and near.
        near = noise_multiplier(
            setting, target_epsilon, delta, "rdp", FEW_ORDERS
        )
        before, here = math.log(near), math.log(near) - 0.05
    else:
        before, here = 0.0, max(min(excess(0.0), 2.0), -2.0) or _TOLERANCE
    while not -_TOLERANCE <= excess(here) <= 0:
        if here > math.log(_LARGEST_MULTIPLIER):
            raise errors.ConfigError(
                f"--target_epsilon={target_epsilon} cannot be kept with any "
                f"noise multiplier up to {_LARGEST_MULTIPLIER:g}; raise it, or "
                "take fewer rounds or a larger population."
            )
        slope = (excess(here) - excess(before)) / (here - before)
        # It falls, and not by so little that a step would lead far away.
        step = -(excess(here) + _TOLERANCE / 2) / min(slope, -0.5)
        before, here = here, here + max(min(step, 2.0), -2.0)
    return math.exp(here)
