"""Configures how weights of little size leave the model while it trains."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

_SCHEDULES = {"polynomial": "", "once": ""}
# Schedule -> the options that it takes besides the round it begins with.
PRUNE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "polynomial": {"end_round": None},
}


@dataclasses.dataclass(frozen=True)
class PruningConfig(fields.Group):
    """Options of pruning; without a sparsity all stay `None`.

    Its fields are flags, whose help says what they mean.

    Example:
      >>> PruningConfig(0.9).settled(100)
      PruningConfig(to=0.9, schedule='polynomial', begin_round=20, end_round=60)

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    to: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Prunes the model while it trains, to this share of zeros among all "
        "weights of two axes or more (not biases), such as 0.9; zeros do not "
        "travel. Default: no pruning.",
        flag="prune_to",
    )
    schedule: Optional[str] = fields.field(
        None,
        fields.known(_SCHEDULES),
        "Chooses how fast: polynomial (more after every round, fast at first: "
        "Zhu and Gupta 2017) or once. Default: polynomial. Only with "
        "--prune_to.",
        flag="prune_schedule",
    )
    begin_round: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the round after which pruning begins. Default: a fifth of "
        "--total_rounds. Only with --prune_to.",
        flag="prune_begin_round",
    )
    end_round: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the round after which all is pruned. Default: three fifths of "
        "--total_rounds. Only for polynomial.",
        flag="prune_end_round",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to is not None:
            return
        for flag, field in self.options():
            value = getattr(self, field.name)
            if value is not None:
                raise errors.ConfigError(
                    f"--{flag}={value} is not used without --prune_to; give "
                    "that too, such as --prune_to=0.9, or leave it out."
                )

    def settled(self, total_rounds: int) -> "PruningConfig":
        """Fills in what was left open.

        Args:
          total_rounds: The number of rounds of the run.

        Raises:
          ConfigError: If an option is not of the schedule, or the rounds are
            not in order.
        """
        if self.to is None:
            return self
        filled = dataclasses.replace(
            self, schedule=self.schedule or "polynomial"
        )
        filled.settle("schedule", PRUNE_OPTIONS)
        begin, end = filled.begin_round, filled.end_round
        if begin is None:
            begin = max(1, total_rounds // 5)
        if filled.schedule == "polynomial":
            if end is None:
                end = max(begin + 1, total_rounds * 3 // 5)
            if end <= begin:
                raise errors.ConfigError(
                    f"--prune_end_round={end} must be above "
                    f"--prune_begin_round={begin}; or choose "
                    "--prune_schedule=once."
                )
        last = end or begin
        if last > total_rounds:
            raise errors.ConfigError(
                f"--prune_to={self.to} is reached after round {last}, and "
                f"--total_rounds={total_rounds}; raise that, or lower "
                "--prune_begin_round and --prune_end_round."
            )
        return dataclasses.replace(filled, begin_round=begin, end_round=end)
