"""Targets of a user's own data: named classes, or numbers."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models.scaling import Scaling
from tff_pipeline.objectives import (
    binary,
    class_scores,
    number_scores,
    outputs,
    scaled_error,
)
from tff_pipeline.objectives.set_metric import Array, SetMetric

MOST_CLASSES = 1000
# Classes that are numbers but not whole ones are rarely meant as classes.
_MOST_FRACTIONS = 20


def number_names(values: Array) -> list[str]:
    """Returns the names of classes that are numbers.

    Args:
      values: Numbers, of any numeric type, [classes].

    >>> number_names(np.array([0.0, 0.5]))
    ['0', '0.5']
    """
    return [f"{int(v)}" if v == int(v) else repr(float(v)) for v in values]


def check_classes(names: Sequence[str], source: str, fractions: bool) -> None:
    """Raises an error if values are one, or too many to be classes.

    Args:
      names: The classes' names.
      source: Where the classes come from, in words, for the error.
      fractions: True if some are numbers that are not whole.

    Raises:
      DataError: If there is one class only, or more than `MOST_CLASSES`.
    """
    if len(names) < 2:
        raise errors.DataError(
            f"{source} has one class only, {names[0]!r}; there is nothing to "
            "learn: choose another label, or add examples of other classes."
        )
    if len(names) > (_MOST_FRACTIONS if fractions else MOST_CLASSES):
        raise errors.DataError(
            f"{source} has {len(names)} different values, too many for "
            "classes; choose --task_type=regression if they are amounts."
        )


def class_target(names: Sequence[str]) -> dict[str, Any]:
    """Returns the arguments of `Task` for labels that are classes.

    Of two classes, the area under the curve and the balanced accuracy are
    measured at every evaluation; of more, they would need all the outputs.

    Args:
      names: The classes' names, in order.
    """
    return {
        "outputs_fn": functools.partial(outputs.named_class_outputs, names),
        "classes": list(names),
        "set_metrics": _TWO_CLASS_SET_METRICS if len(names) == 2 else {},
    }


def number_target(scaling: Scaling) -> dict[str, Any]:
    """Returns the arguments of `Task` for labels that are numbers.

    The loss is the mean squared error in units of the training labels'
    variance, so that learning rates do not depend on the labels' unit: always
    predicting the mean has a loss of 1, and 1 - loss is about R squared.

    Args:
      scaling: The training labels' statistics, one an output.
    """
    error_fn = functools.partial(
        scaled_error.error_by_output, scaling.deviation
    )
    return {
        "loss_fn": functools.partial(scaled_error.ScaledSquaredError, error_fn),
        "metrics_fn": _number_metrics,
        "set_metrics": _NUMBER_SET_METRICS,
        "outputs_fn": outputs.squeezed_value_outputs,
    }


def _number_metrics() -> list[tf.keras.metrics.Metric]:
    return [tf.keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]


def _root_mean_squared_error(y: Array, predicted: Array) -> float:
    squared = np.square(predicted.astype(np.float64) - y)
    return float(np.sqrt(np.mean(squared)))


_NUMBER_SET_METRICS: Mapping[str, SetMetric] = {
    "root_mean_squared_error": _root_mean_squared_error,
    "r_squared": number_scores.r_squared,
}
_TWO_CLASS_SET_METRICS: Mapping[str, SetMetric] = {
    "auc": binary.area_under_curve,
    "balanced_accuracy": class_scores.balanced_accuracy,
}
