"""Configures the protocol that carries out secure sums."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# The aggregators whose sums are secure ones.
SECURE_AGGREGATORS = ("secure_mean", "dp_distributed")
PLAIN = "plain"
# Protocol -> the options that it takes, with their defaults.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    name: {"neighbours": None, "threshold": None}
    for name in registry.SECURE_SUMS
}
_EVEN = fields.Allowed(
    int,
    "an even number from 2 to 65518",
    lambda v: v % 2 == 0 and 2 <= v <= 65518,
)


@dataclasses.dataclass(frozen=True)
class SecureAggregationConfig(fields.Group):
    """Options of the protocol; those that it does not take stay `None`.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    protocol: str = fields.field(
        PLAIN,
        fields.known({PLAIN: "", **registry.SECURE_SUMS}),
        "Chooses how secure sums are carried out: plain (added in the open, "
        "with the same results) or bonawitz (by messages that show the server "
        "nothing but sums; for --aggregator=secure_mean and dp_distributed).",
        flag="secure_aggregation",
    )
    neighbours: Optional[int] = fields.field(
        None,
        _EVEN,
        "Sets how many other clients of a round a client shares its secrets "
        "with (Bell et al. 2020), such as 30; costs grow with it. Default: all "
        "others (Bonawitz et al. 2017).",
        flag="secure_aggregation_neighbours",
    )
    threshold: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many clients must stay to a round's end, of a client's "
        "neighbours and itself; with fewer the round is lost. More than half; "
        "against a server that lies, more than two thirds. Default: the least "
        "that is more than half.",
        flag="secure_aggregation_threshold",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("protocol", _OPTIONS)

    @property
    def is_plain(self) -> bool:
        """True if sums are added in the open."""
        return self.protocol == PLAIN

    def check(
        self,
        aggregator: str,
        algorithm: str,
        runtime: str,
        clients_per_round: int,
    ) -> None:
        """Refuses what a protocol between the clients of a round cannot do.

        Args:
          aggregator: The value of --aggregator.
          algorithm: The value of --algorithm.
          runtime: The value of --runtime.
          clients_per_round: The number of clients in a round.

        Raises:
          ConfigError: If one of them does not go with the protocol, the cohort
            is too small to hide anyone, or the threshold is above the
            neighbourhood or at most half of it.
        """
        if self.is_plain:
            return
        flag = f"--secure_aggregation={self.protocol}"
        if not aggregator.endswith(SECURE_AGGREGATORS):
            raise errors.ConfigError(
                f"{flag} is not used with --aggregator={aggregator}, which has "
                f"no secure sum; choose {' or '.join(SECURE_AGGREGATORS)}."
            )
        if runtime != "in_process":
            raise errors.ConfigError(
                f"{flag} is not used with --runtime={runtime}, whose sums are "
                "added in the open; choose in_process."
            )
        if algorithm == "fed_buff":
            raise errors.ConfigError(
                f"{flag} is not used with --algorithm=fed_buff, whose clients "
                "are not there at the same time; choose fed_avg."
            )
        self._check_cohort(clients_per_round)

    def _check_cohort(self, clients_per_round: int) -> None:
        if clients_per_round < 2:
            raise errors.ConfigError(
                f"--secure_aggregation={self.protocol} with "
                f"--clients_per_round={clients_per_round}: the sum of one "
                "client is its update; have at least 2."
            )
        size, whose = clients_per_round, "the clients of a round"
        if self.neighbours is not None and self.neighbours < size - 1:
            size, whose = self.neighbours + 1, "a client and its neighbours"
        if self.threshold is None or size < 2 * self.threshold <= 2 * size:
            return
        raise errors.ConfigError(
            f"--secure_aggregation_threshold={self.threshold}: must be more "
            f"than half of {size}, {whose}, and not above it: from "
            f"{size // 2 + 1} to {size}."
        )
