"""Configures the algorithm: what clients and server compute in a round."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tff_pipeline import registry
from tff_pipeline.config import fields

# Options that an algorithm takes, with defaults; all others refuse them. An
# algorithm that is not listed takes none.
ALGORITHM_OPTIONS: Mapping[str, Mapping[str, Any]] = {}


@dataclasses.dataclass(frozen=True)
class AlgorithmConfig(fields.Group):
    """Options of the algorithm; those that it does not take stay `None`.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or the algorithm does not take an
        option that is set.
    """

    name: str = fields.field(
        "fed_avg",
        fields.known(registry.ALGORITHMS),
        "Chooses the algorithm that clients and server run; fed_avg averages "
        "what clients learned (McMahan et al. 2017).",
        flag="algorithm",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("name", ALGORITHM_OPTIONS)
