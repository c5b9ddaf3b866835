"""Plans the discrete noise of `dp_distributed` (Kairouz et al. 2021b).

Clients round their updates to a grid of integers and add discrete noise, so
that the noise that counts differs a little from the one that is added.
"""

from tff_pipeline import errors
from tff_pipeline.aggregators.private.discrete_mechanism import Mechanism
from tff_pipeline.config.privacy import PrivacyConfig
from tff_pipeline.privacy.setting import Setting

# Each step comes closer; a few are enough wherever `check` finds no fault.
_MOST_STEPS = 100


def mechanism(
    options: PrivacyConfig,
    setting: Setting,
    dimension: int,
    noise_multiplier: float,
) -> Mechanism:
    """Returns the mechanism with a noise multiplier.

    Args:
      options: The flags; `dp_clip` and `dp_bits` are set.
      setting: The setting, of which the cohort's size counts.
      dimension: The count of numbers in an update.
      noise_multiplier: Standard deviation of the noise on a round's sum,
        before it is made discrete, over the clip.
    """
    assert options.dp_clip is not None and options.dp_bits is not None
    return Mechanism(
        noise_multiplier,
        options.dp_clip,
        dimension,
        setting.cohort_size,
        options.dp_bits,
    )


def noise_multiplier(
    options: PrivacyConfig,
    setting: Setting,
    dimension: int,
    effective: float,
) -> float:
    """Finds the noise multiplier of `mechanism` that counts for `effective`.

    >>> options = PrivacyConfig(dp_clip=0.5, dp_bits=16)
    >>> setting = Setting("distributed", "min_separation", 1000, 100, 10, 5)
    >>> round(noise_multiplier(options, setting, 1_000_000, 1.0), 4)
    1.002

    Args:
      options: The flags; `dp_clip` and `dp_bits` are set.
      setting: The setting, of which the cohort's size counts.
      dimension: The count of numbers in an update.
      effective: The noise multiplier that the accountant is told.

    Returns:
      A number whose effective noise multiplier is at least `effective`, and
      hardly more; or one that comes short of it, where no noise can be had with
      so few bits, which `check` refuses.
    """
    multiplier = effective
    for _ in range(_MOST_STEPS):
        reached = mechanism(
            options, setting, dimension, multiplier
        ).effective_noise_multiplier()
        # `check` refuses noise of which less than half counts.
        if reached >= effective or reached < multiplier / 2:
            break
        # A hair more, to get there.
        multiplier *= effective / reached * (1 + 1e-6)
    return multiplier


def check(
    options: PrivacyConfig,
    setting: Setting,
    dimension: int,
    noise_multiplier: float,
) -> None:
    """Checks that the mechanism has enough bits for its clip and its noise.

    Args:
      options: The flags; `dp_clip` and `dp_bits` are set.
      setting: The setting, of which the cohort's size counts.
      dimension: The count of numbers in an update.
      noise_multiplier: As for `mechanism`.

    Raises:
      ConfigError: If it has too few, or more than there may be; --dp_bits is
        named.
    """
    try:
        mechanism(options, setting, dimension, noise_multiplier).check()
    except ValueError as error:
        raise errors.ConfigError(
            f"--dp_bits={options.dp_bits}: {error}"
        ) from None
