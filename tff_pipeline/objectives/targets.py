"""What is predicted from a user's own data: classes with names, or numbers."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.objectives import outputs
from tff_pipeline.objectives.set_metric import SetMetric

MOST_CLASSES = 1000
# Of labels that are no whole numbers.
_MOST_FRACTIONS = 20


@dataclasses.dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the numbers to predict, one an output."""

    mean: list[float]
    deviation: list[float]


def number_names(values: np.ndarray) -> list[str]:
    """The names of classes that are numbers: 0.0 is "0", 0.5 is "0.5"."""
    return [f"{int(v)}" if v == int(v) else repr(float(v)) for v in values]


def check_classes(names: Sequence[str], source: str, fractions: bool) -> None:
    """Raises `DataError` if these can hardly be classes.

    Args:
      names: Of the classes.
      source: Where they are, in words.
      fractions: Whether some are numbers that are not whole.
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


def classes(names: Sequence[str]) -> dict[str, Any]:
    """The arguments of `Task` for classes that have these names."""
    return {
        "outputs_fn": functools.partial(outputs.of_named_classes, names),
        "classes": list(names),
    }


def scale(y: np.ndarray) -> Scale:
    """The scale of training labels, float of shape [n, outputs]."""
    values = y.astype(np.float64)
    deviation = np.std(values, axis=0)
    deviation[deviation == 0] = 1.0
    return Scale(np.mean(values, axis=0).tolist(), deviation.tolist())


def labels_of(clients: FederatedData) -> np.ndarray:
    """All clients' labels."""
    return np.concatenate([clients.load(c).y for c in clients.client_ids])


def numbers(target: Scale) -> dict[str, object]:
    """The arguments of `Task` for numbers.

    The loss is the mean squared error in units of the training labels'
    variance, so that learning rates do not depend on the labels' unit: to
    always predict the mean has a loss of 1, and 1 - loss is about R squared.
    """
    return {
        "loss_fn": functools.partial(ScaledSquaredError, target.deviation),
        "metrics_fn": _number_metrics,
        "set_metrics": _SET_METRICS,
        "outputs_fn": _value,
    }


class ScaledSquaredError(tf.keras.losses.Loss):
    """The mean of the squares of errors, each divided by its deviation."""

    def __init__(
        self, deviation: Sequence[float], name: Optional[str] = None
    ) -> None:
        super().__init__(name=name)
        self._deviation = list(deviation)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = (y_pred - y_true) / tf.constant(self._deviation, y_pred.dtype)
        return tf.reduce_mean(tf.square(error), axis=-1)


def _number_metrics() -> list[tf.keras.metrics.Metric]:
    return [tf.keras.metrics.MeanAbsoluteError(name="mean_absolute_error")]


def _root_mean_squared_error(y: np.ndarray, predicted: np.ndarray) -> float:
    errors_squared = np.square(predicted.astype(np.float64) - y)
    return float(np.sqrt(np.mean(errors_squared)))


_SET_METRICS: Mapping[str, SetMetric] = {
    "root_mean_squared_error": _root_mean_squared_error
}


def _value(values: tf.Tensor) -> dict[str, tf.Tensor]:
    """One number an example as [batch], more of them as [batch, outputs]."""
    if values.shape[-1] == 1:
        values = tf.squeeze(values, -1)
    return outputs.of_values(values)
