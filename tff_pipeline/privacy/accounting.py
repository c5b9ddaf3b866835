"""Computes epsilon of a setting: the least of the bounds that hold.

`setting` defines what it depends on. Needs no TensorFlow.

Of the discrete Gaussian with the sensitivity in integers, what is proven is
that its Renyi divergences are at most those of the continuous one (Canonne,
Kamath, Steinke 2020, theorem 14), of a vector with the L2 norm as sensitivity.
So bounds on Renyi divergences alone are taken for it. A Poisson sample's
divergence of an integer order alpha is a sum over k of C(alpha, k) (1 -
q)^(alpha - k) q^k E_P[(Q / P)^k] (Mironov, Talwar, Zhang 2019, section 3.3),
each of which theorem 14 bounds by what it is for the continuous one; that this
direction of the divergence is the larger (their theorem 5) rests on a
reflection that swaps P and Q, and x -> Delta - x is one on the integers too.
Of orders between the integers, of exact distributions of privacy losses and of
samples of a fixed size nothing of the kind is known, and they are refused.
"""

import functools
import math
from typing import Any, Optional

import dp_accounting
import numpy as np
import numpy.typing as npt
from dp_accounting import pld, rdp

from tff_pipeline import errors
from tff_pipeline.config.privacy import ACCOUNTANTS, DISCRETE_GAUSSIAN
from tff_pipeline.privacy import gaussian
from tff_pipeline.privacy.setting import Setting, check_name

Array = npt.NDArray[Any]

# Of these, what is known is bounds on Renyi divergences, and on nothing else.
_RENYI_ONLY = ("distributed", DISCRETE_GAUSSIAN)


# How finely privacy losses are told apart, always rounded to the safe side: in
# standard deviations of a round's loss, and at most. With either epsilon is
# less than 0.1% too high.
_FINE = (0.05, 5e-3)
_COARSE = (0.1, 1e-2)
_MOST_FINE_ROUNDS = 20_000
# Above these, losses are too many to be told apart; a bound will do.
_LARGEST_EXACT = 300.0
_MOST_EXACT_ROUNDS = 300_000
# Quick ones, for a bound.
_FEW_ORDERS = (*range(2, 17), 20, 24, 28, 32, 40, 48, 63, 128, 512, 1024)
# With more noise the best order is a high one, and those between the integers
# take many seconds.
_MOST_NOISE_OF_ALL_ORDERS = 20.0
_INTEGER_ORDERS = (*range(2, 64), 128, 256, 512, 1024)


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


def knows_renyi_alone(setting: Setting) -> bool:
    """Says whether no other bounds are proven than on Renyi divergences.

    Args:
      setting: The mechanism, the sampling and the counts.
    """
    return setting.mechanism in _RENYI_ONLY


def default_accountant(setting: Setting) -> str:
    """Returns the tightest accountant that knows the setting.

    Args:
      setting: The mechanism, the sampling and the counts.
    """
    uniform = setting.amplified and setting.sampling == "uniform"
    return "rdp" if uniform or knows_renyi_alone(setting) else "pld"


def epsilon(
    setting: Setting,
    noise_multiplier: float,
    delta: float,
    accountant: Optional[str] = None,
    quick: bool = False,
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
      quick: Whether a bound will do that is up to 1% higher, of fewer orders
        of Renyi divergences or coarser losses.

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
    if not setting.amplified:
        return _unamplified(setting, noise_multiplier, delta, accountant)
    bounds = (
        _amplified(setting, noise_multiplier, delta, accountant, quick),
        # It holds as well: a sample's output is a mixture of those of fixed
        # cohorts, none of which tells more than everyone in every round.
        _unamplified(
            setting,
            noise_multiplier,
            delta,
            accountant if knows_renyi_alone(setting) else "pld",
        ),
    )
    return min(bounds)


def _unamplified(
    setting: Setting, noise_multiplier: float, delta: float, accountant: str
) -> float:
    """Computes epsilon of all rounds as one Gaussian mechanism."""
    noise = noise_multiplier / math.sqrt(setting.squared_sensitivity())
    if accountant == "pld":
        return gaussian.epsilon(noise, delta)
    rho = 0.5 / noise**2
    if accountant == "zcdp":
        # Bun and Steinke 2016, proposition 1.3.
        return rho + 2 * math.sqrt(-rho * math.log(delta))
    alphas = np.asarray(rdp.RdpAccountant().orders)
    return _converted(alphas, rho * alphas, delta, accountant)


def _amplified(
    setting: Setting,
    noise_multiplier: float,
    delta: float,
    accountant: str,
    quick: bool,
) -> float:
    """Computes epsilon of rounds of which nobody knows who took part."""
    event, times = setting.events(noise_multiplier)
    if accountant == "pld":
        bound = _amplified(setting, noise_multiplier, delta, "rdp", quick=True)
        if bound > _LARGEST_EXACT or times > _MOST_EXACT_ROUNDS:
            return bound
        coarse = quick or times > _MOST_FINE_ROUNDS
        losses = _losses(event, *(_COARSE if coarse else _FINE))
        losses = losses.self_compose(times)
        return float(losses.get_epsilon_for_delta(delta))
    orders: Optional[tuple[float, ...]] = None
    if quick:
        orders = _FEW_ORDERS
    elif (
        noise_multiplier > _MOST_NOISE_OF_ALL_ORDERS
        or setting.mechanism == DISCRETE_GAUSSIAN
    ):
        orders = _INTEGER_ORDERS
    alphas, divergences = _divergences(event, setting.adjacency, orders)
    divergences = times * divergences
    if setting.sampling == "uniform":
        # The bound for a sample may be above that for everyone.
        everyone = times * alphas / (2 * noise_multiplier**2)
        divergences = np.minimum(divergences, everyone)
    return _converted(alphas, divergences, delta, accountant)


def _converted(
    alphas: Array, divergences: Array, delta: float, accountant: str
) -> float:
    """Converts Renyi divergences to epsilon."""
    if accountant == "rdp":
        return float(rdp.compute_epsilon(alphas, divergences, delta)[0])
    # Mironov 2017, proposition 3.
    bounds = divergences - math.log(delta) / (alphas - 1)
    return float(max(0.0, np.min(bounds)))


@functools.lru_cache(maxsize=8)
def _losses(
    event: dp_accounting.PoissonSampledDpEvent, step: float, largest_step: float
) -> Any:
    """Computes the privacy loss distribution of an event."""
    noise, probability = event.event, event.sampling_probability
    # Nearly; from the divergence of order 2.
    square = min(noise.noise_multiplier**-2, 20.0)
    stddev = probability * math.sqrt(math.expm1(square))
    return pld.privacy_loss_distribution.from_gaussian_mechanism(
        noise.noise_multiplier,
        sampling_prob=probability,
        value_discretization_interval=min(largest_step, step * stddev),
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
    if accountant == "pld" and knows_renyi_alone(setting):
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
