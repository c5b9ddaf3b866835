"""Configures how the messages of a cohort's clients become one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# Options that a name in --aggregator takes, with defaults; a name that is not
# listed takes none.
AGGREGATOR_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"clip_norm": None},
    "secure_mean": {
        "secure_mean_range": 1.0,
        "secure_mean_bits": 20,
        "secure_mean_max_weight": None,
    },
}

_GRID_BITS = fields.Allowed(
    int, "a whole number from 2 to 30", lambda v: 2 <= v <= 30
)


def names_in_chain(chain: str) -> list[str]:
    """Splits a chain of aggregators into its names, the first step first.

    Args:
      chain: A value of --aggregator.

    Returns:
      The names of the steps, then the name of the aggregator that ends it.

    >>> names_in_chain("clip+mean")
    ['clip', 'mean']
    """
    return chain.split("+")


def _is_chain(value: str) -> bool:
    *steps, last = names_in_chain(value)
    return last in registry.AGGREGATORS and all(
        step in registry.AGGREGATOR_STEPS for step in steps
    )


class _Chain(fields.Allowed):
    """Allows an aggregator, or steps that end in one, such as clip+mean."""

    def check(self, flag: str, value: Any) -> None:
        """Checks that a value is a chain of known names.

        Args:
          flag: The flag's name, for the error.
          value: The value to check.

        Raises:
          ConfigError: If it is not.
        """
        if isinstance(value, str) and _is_chain(value):
            return
        raise errors.ConfigError(
            f"--{flag}={value}: must be one of: "
            f"{', '.join(registry.AGGREGATORS)}; before it, with + between "
            f"them, there may be: {', '.join(registry.AGGREGATOR_STEPS)}."
        )


@dataclasses.dataclass(frozen=True)
class AggregationConfig(fields.Group):
    """Options of the aggregator; those that it does not take stay `None`.

    Its fields are flags, whose help says what they mean.

    Example:
      >>> config = AggregationConfig("clip+mean", clip_norm=1.0)
      >>> config.steps, config.last
      (['clip'], 'mean')

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    name: str = fields.field(
        "mean",
        _Chain(str, "an aggregator", _is_chain, tuple(registry.AGGREGATORS)),
        "Chooses how clients' updates become one: their mean, or a "
        "differentially private mean (dp_...). Steps may come first, such as "
        "clip+mean.",
        flag="aggregator",
    )
    clip_norm: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest L2 norm of a client's update after the step clip, "
        "such as 1.0; longer updates are scaled down to it.",
    )
    secure_mean_range: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest size of a number in a client's update; larger ones "
        "are cut to it, and counted in the column clipped_values. Default: "
        "1.0. Only for secure_mean.",
    )
    secure_mean_bits: Optional[int] = fields.field(
        None,
        _GRID_BITS,
        "Sets how many bits each number of a client's update is rounded to. "
        "Default: 20. Only for secure_mean.",
    )
    secure_mean_max_weight: Optional[float] = fields.field(
        None,
        fields.Allowed(
            float, "above 0 and at most 1e+09", lambda v: 0 < v <= 1e9
        ),
        "Sets the largest weight of a client, such as 600 examples; those with "
        "more count as this, and in the column clipped_weights. Only for "
        "secure_mean, unless --client_weighting=uniform.",
    )

    @property
    def steps(self) -> Sequence[str]:
        """Names of the steps before the aggregator, in order."""
        return names_in_chain(self.name)[:-1]

    @property
    def last(self) -> str:
        """Name of the aggregator that ends the chain."""
        return names_in_chain(self.name)[-1]

    def __post_init__(self) -> None:
        super().__post_init__()
        options: dict[str, Any] = {}
        for name in names_in_chain(self.name):
            options |= AGGREGATOR_OPTIONS.get(name, {})
        self.settle("name", {**AGGREGATOR_OPTIONS, self.name: options})
        if "clip" in self.steps and self.clip_norm is None:
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --clip_norm, the largest L2 "
                "norm of a client's update, such as --clip_norm=1.0."
            )

    def check_secure_mean(self, clients_per_round: int, weighting: str) -> None:
        """Refuses weights that have no bound, and sums that would not fit.

        Args:
          clients_per_round: The number of clients in a round.
          weighting: How clients are weighed, a name in `WEIGHTINGS`.

        Raises:
          ConfigError: If the options of secure_mean do not suit them.
        """
        bits, largest = self.secure_mean_bits, self.secure_mean_max_weight
        if bits is None:
            return
        if largest is None and weighting != "uniform":
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --secure_mean_max_weight "
                f"with --client_weighting={weighting}: the largest number of "
                "examples that counts, such as 600; or "
                "--client_weighting=uniform."
            )
        if largest is not None and weighting == "uniform":
            raise errors.ConfigError(
                f"--secure_mean_max_weight={largest} is not used with "
                "--client_weighting=uniform, where every client weighs 1; "
                "leave it out."
            )
        most = 2**32 // clients_per_round
        if 2**bits > most:
            raise errors.ConfigError(
                f"--secure_mean_bits={bits}: the sum of "
                f"--clients_per_round={clients_per_round} such numbers does "
                f"not fit in 32 bits; at most {most.bit_length() - 1} do."
            )
