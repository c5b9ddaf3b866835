"""Tells from the name of a metric whether small values of it are good."""

from collections.abc import Mapping

from tff_pipeline.config import RunConfig


def lower_is_better(name: str) -> bool:
    """Tells from a metric's name whether small values of it are good.

    Args:
      name: A metric's name, or a column of metrics.csv without a statistic at
        its end.

    Returns:
      True for losses and errors, False for everything else.

    Example:
      >>> lower_is_better("eval_loss"), lower_is_better("eval_accuracy")
      (True, False)
    """
    return name.endswith(("loss", "error"))


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
    name, target = config.target_metric, config.target_value
    if name is None or target is None or name not in row:
        return False
    if lower_is_better(name):
        return row[name] <= target
    return row[name] >= target
