"""Finds the noise that a target epsilon needs, or refuses the target.

Computing epsilon may take a second, so that few noise multipliers are tried:
the first is that of a central limit theorem, which is near. Needs no
TensorFlow.
"""

import math
from collections.abc import Callable
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.privacy import accounting, gaussian
from tff_pipeline.privacy.setting import Setting

_LARGEST_MULTIPLIER = 1e4
# With less noise no target is told apart from having none.
_SMALLEST_MULTIPLIER = 1e-3
_TOLERANCE = 2e-3  # How far a target epsilon may be undershot, relatively.
# Where epsilon leaps, how closely the leap is found: less so with every try.
_NARROW = 4e-3
_FIRST_STEP = 1.02
_MOST_SECANTS = 6
_FINE_STEPS = 3
_MOST_TRIES = 60  # Steps and halves come to an end long before.


def noise_multiplier(
    setting: Setting,
    target_epsilon: float,
    delta: float,
    accountant: Optional[str] = None,
) -> float:
    """Finds a noise multiplier whose epsilon is the target or hardly below.

    >>> tree = Setting("tree_restart", "shuffled", 100, 10, rounds=10)
    >>> round(noise_multiplier(tree, 0.926, 1e-5), 2)
    8.01

    Args:
      setting: The mechanism, the sampling and the counts.
      target_epsilon: The epsilon that must not be exceeded; above 0.
      delta: The probability that is left out.
      accountant: One of `ACCOUNTANTS`; by default
        `accounting.default_accountant`.

    Returns:
      A number whose epsilon is at most 1% below the target; or more than that
      where epsilon leaps past the target, as it does where delta alone
      suffices.

    Raises:
      ConfigError: If no noise multiplier up to 10,000 keeps the target.
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0):
        raise errors.ConfigError(
            f"--target_epsilon={target_epsilon}: must be a finite number "
            "above 0."
        )
    accounting.check_delta(delta)

    def epsilon(multiplier: float, quick: bool = True) -> float:
        return accounting.epsilon(
            setting, multiplier, delta, accountant, quick=quick
        )

    def estimate(target: float) -> float:
        return _estimate(setting, target, delta)

    # What keeps the target without sampling does so with it.
    enough = gaussian.noise_multiplier(target_epsilon, delta) * math.sqrt(
        setting.squared_sensitivity()
    )
    known = (
        setting.amplified
        and enough <= _LARGEST_MULTIPLIER
        # Else the account may say more of it than the closed form.
        and not accounting.knows_renyi_alone(setting)
    )
    found = _search(
        epsilon, estimate, target_epsilon, enough if known else None
    )
    return _closer(lambda n: epsilon(n, quick=False), found, target_epsilon)


def _estimate(setting: Setting, target_epsilon: float, delta: float) -> float:
    """Estimates the noise multiplier that a target needs.

    Without amplification it is the right one. Many sampled rounds are nearly
    one Gaussian mechanism (Bu et al. 2020, "Deep learning with Gaussian
    differential privacy", corollary 5.4, of small sampling probabilities).
    """
    whole = gaussian.noise_multiplier(target_epsilon, delta)
    if not setting.amplified:
        return whole * math.sqrt(setting.squared_sensitivity())
    probability = setting.cohort_size / setting.population
    square = (whole * probability) ** 2 * setting.rounds
    sampled = math.log1p(1 / square) ** -0.5
    return float(min(sampled, whole * math.sqrt(setting.rounds)))


def _search(
    epsilon: Callable[[float], float],
    estimate: Callable[[float], float],
    target: float,
    enough: Optional[float],
) -> float:
    """Finds where the falling function `epsilon` is the target.

    It starts from the estimate, and goes on by secants, for in logarithms
    epsilon is nearly a falling line; where these lead nowhere, outwards in
    growing steps, and then by halving. `enough` is a noise multiplier that is
    known to keep the target.
    """
    low, high = _SMALLEST_MULTIPLIER, _LARGEST_MULTIPLIER
    tried: set[bool] = set()
    if enough is not None:
        # A hair more, for rounding.
        high, tried = enough * (1 + 1e-6), {True}
    aim = target * (1 - _TOLERANCE / 2)
    here = min(max(estimate(aim), low), high)
    before: Optional[tuple[float, float]] = None
    step = _FIRST_STEP
    hopeless = estimate(aim) > 2 * _LARGEST_MULTIPLIER
    for number in range(1, 1 if hopeless else _MOST_TRIES):
        value = epsilon(here)
        keeps = value <= target
        if keeps and value >= (1 - _TOLERANCE) * target:
            return here
        if keeps and here == _SMALLEST_MULTIPLIER:
            return here
        if not keeps and here == _LARGEST_MULTIPLIER:
            break
        low, high = (low, here) if keeps else (here, high)
        tried.add(keeps)
        if len(tried) == 2 and high / low < 1 + _NARROW * number:
            return high
        # How far below the aim it is, in logarithms; both must be finite.
        missed = math.log(aim / min(max(value, 1e-12), 1e12))
        slope = _slope(before, here, missed)
        before = here, missed
        proposed = here * math.exp(min(max(missed / slope, -3.0), 3.0))
        if number <= _MOST_SECANTS and low < proposed < high:
            here = proposed
        elif len(tried) == 2:
            here = math.sqrt(low * high)
        else:
            here = max(here / step, low) if keeps else min(here * step, high)
            step *= step
    raise errors.ConfigError(
        f"--target_epsilon={target} cannot be kept with any noise multiplier "
        f"up to {_LARGEST_MULTIPLIER:g}; raise it, or take fewer rounds or a "
        "larger population."
    )


def _closer(
    epsilon: Callable[[float], float], found: float, target: float
) -> float:
    """Goes from what a coarse account found to where a fine one has the target.

    Epsilon is nearly a falling line in logarithms: two steps get there.
    """
    aim = target * (1 - _TOLERANCE / 2)
    best, here, before = found, found, None
    for _ in range(_FINE_STEPS):
        value = epsilon(here)
        if value <= target:
            best = min(best, here)
            if value >= (1 - _TOLERANCE) * target:
                break
        missed = math.log(aim / min(max(value, 1e-12), 1e12))
        slope = _slope(before, here, missed)
        before = here, missed
        here *= math.exp(min(max(missed / slope, -0.3), 0.3))
    return best


def _slope(
    before: Optional[tuple[float, float]], here: float, missed: float
) -> float:
    """Returns the slope of the logarithm of epsilon, which is never flat."""
    if before is None or before[0] == here:
        return -1.0
    rise = (before[1] - missed) / math.log(here / before[0])
    return min(max(rise, -10.0), -0.5)
