"""Tells from the name of a metric whether small values of it are good."""


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
