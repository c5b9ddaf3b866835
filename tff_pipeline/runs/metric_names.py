"""Tells what the names of metrics say: which column, and which end is good."""

from collections.abc import Collection, Mapping
from typing import Optional

from tff_pipeline.config import RunConfig

VALIDATION = "validation_"
TEST = "eval_"


def lower_is_better(name: str) -> bool:
    """Tells from a metric's name whether small values of it are good.

    Args:
      name: A metric's name, or a column of metrics.csv without a statistic at
        its end.

    Returns:
      True for losses, errors, perplexity and bits a character, False for
      everything else.

    Example:
      >>> lower_is_better("eval_loss"), lower_is_better("eval_accuracy")
      (True, False)
    """
    return name.endswith(("loss", "error", "perplexity", "bits_per_character"))


def chosen_column(
    metric: Optional[str], columns: Collection[str]
) -> Optional[str]:
    """Returns the column of metrics.csv by which `--target_metric` chooses.

    Args:
      metric: The flag's value: a column, or a metric's name. A name stands for
        the metric on the validation set, or without one on the test set.
      columns: The columns that there are.

    Returns:
      One of `columns`; `None` if none is meant.

    Example:
      >>> chosen_column("loss", ["eval_loss", "validation_loss"])
      'validation_loss'
      >>> chosen_column("loss", ["eval_loss"])
      'eval_loss'
      >>> chosen_column("eval_loss", ["eval_loss", "validation_loss"])
      'eval_loss'
    """
    for name in (metric, f"{VALIDATION}{metric}", f"{TEST}{metric}"):
        if name in columns:
            return name
    return None


def reaches_target(config: RunConfig, row: Mapping[str, float]) -> bool:
    """Tells whether a row reaches `--target_value`; without one, none does.

    Args:
      config: The options of the run.
      row: Values by columns of metrics.csv.

    Example:
      >>> config = RunConfig(target_metric="eval_loss", target_value=0.5)
      >>> [reaches_target(config, {"eval_loss": x}) for x in (0.6, 0.4)]
      [False, True]
    """
    target = config.target_value
    name = chosen_column(config.target_metric, row)
    if name is None or target is None:
        return False
    if lower_is_better(name):
        return row[name] <= target
    return row[name] >= target
