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
}


# Aggregators that compute outside of TensorFlow, in this process.
IN_PROCESS_ONLY = ("he_mean",)


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
        "Chooses how clients' updates become one: their mean, the mean of "
        "encrypted updates (he_mean), or a differentially private mean "
        "(dp_...). Steps may come first, such as "
        "clip+mean.",
        flag="aggregator",
    )
    clip_norm: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest L2 norm of a client's update after the step clip, "
        "such as 1.0; longer updates are scaled down to it.",
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
