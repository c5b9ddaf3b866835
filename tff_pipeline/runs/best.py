"""Keeps which round is the best by `--target_metric`, and how long it has been.

It is in the notes of every checkpoint, so that a resumed run chooses, and stops
for `--patience`, as one that was not interrupted. Needs no TensorFlow.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, Optional

from tff_pipeline.config import RunConfig
from tff_pipeline.runs.metric_names import (
    VALIDATION,
    chosen_column,
    lower_is_better,
)


@dataclasses.dataclass(frozen=True)
class Best:
    """The best evaluation so far.

    Attributes:
      round_number: Its round; 0 as long as no evaluation gave a finite value.
      value: The metric after that round; NaN as long as there is none.
      since: The evaluations since then, none of which was better.
    """

    round_number: int = 0
    value: float = math.nan
    since: int = 0

    def after(self, row: Mapping[str, float], metric: Optional[str]) -> "Best":
        """Returns the best evaluation once one more round has ended.

        Example:
          >>> best = Best(3, 0.5).after({"round": 4, "eval_loss": 0.6}, "loss")
          >>> best
          Best(round_number=3, value=0.5, since=1)
          >>> best.after({"round": 5, "eval_loss": 0.4}, "loss")
          Best(round_number=5, value=0.4, since=0)

        Args:
          row: The round's values by columns of metrics.csv.
          metric: The value of `--target_metric`.
        """
        column = chosen_column(metric, row)
        if column is None:
            return self
        value = row[column]
        sign = -1 if lower_is_better(column) else 1
        if math.isfinite(value) and (
            not self.round_number or sign * value > sign * self.value
        ):
            return Best(int(row["round"]), value)
        return dataclasses.replace(self, since=self.since + 1)

    def ends(self, config: RunConfig) -> bool:
        """Returns whether `--patience` is over.

        Args:
          config: The options of the run.
        """
        return config.patience is not None and self.since >= config.patience

    def note(self) -> dict[str, Any]:
        """Returns it as JSON, for a checkpoint's notes."""
        value = self.value if self.round_number else None
        return {"round": self.round_number, "value": value, "since": self.since}

    @classmethod
    def of_notes(cls, notes: Mapping[str, Any]) -> "Best":
        """Reads it from a checkpoint's notes.

        Args:
          notes: The notes; those of a run without `--target_metric` have none.
        """
        note = notes.get("best")
        if note is None:
            return cls()
        value = math.nan if note["value"] is None else note["value"]
        return cls(note["round"], value, note.get("since", 0))


# Before any evaluation.
NONE_YET = Best()


def in_words(metric: Optional[str], columns: Collection[str]) -> str:
    """Says on which examples the best round is chosen, in a sentence or two.

    Args:
      metric: The value of `--target_metric`.
      columns: The columns of metrics.csv.

    Returns:
      The sentence; "" without a metric to choose by.

    Example:
      >>> in_words("loss", ["eval_loss", "validation_loss"])
      'The best round is the one with the best validation_loss.'
    """
    column = chosen_column(metric, columns)
    if column is None:
        return ""
    words = f"The best round is the one with the best {column}"
    if column.startswith(VALIDATION):
        return f"{words}."
    mend = "--validation_fraction=0.1 holds out others to choose on"
    if any(name.startswith(VALIDATION) for name in columns):
        mend = "there are validation examples to choose on: name the metric "
        mend += "without its prefix in --target_metric"
    return (
        f"{words}: it is chosen on the test set, so that its figures there are "
        f"too good; {mend}."
    )
