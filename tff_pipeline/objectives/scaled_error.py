"""Errors of predicted numbers in units of the labels' standard deviation.

So counted, a loss does not depend on the labels' unit, and always predicting
the mean has a squared error of about 1.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tff_pipeline.runtime import compat

# (labels, predicted numbers) -> scaled errors.
ErrorFn = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def error_by_output(
    deviations: Sequence[float], y_true: tf.Tensor, y_pred: tf.Tensor
) -> tf.Tensor:
    """Returns errors, each in the deviation of its output.

    Args:
      deviations: The labels' standard deviation, one an output, above 0.
      y_true: Labels, float32 [batch, outputs].
      y_pred: Predicted numbers, of the same shape and type.

    Returns:
      float32 [batch, outputs].

    >>> error_by_output([2.0], tf.constant([[1.0]]), tf.constant([[4.0]]))[0, 0]
    <tf.Tensor: shape=(), dtype=float32, numpy=1.5>
    """
    return (y_pred - y_true) / tf.constant(deviations, y_pred.dtype)


def error_by_group(
    deviations: Sequence[float], y_true: tf.Tensor, y_pred: tf.Tensor
) -> tf.Tensor:
    """Returns errors, each in the deviation of the group of its example.

    Args:
      deviations: The labels' standard deviation, one a group, above 0.
      y_true: float32 [batch, outputs, 2]: labels, and the group's number.
      y_pred: Predicted numbers, float32 [batch, outputs].

    Returns:
      float32 [batch, outputs].
    """
    group = tf.cast(y_true[..., 1], tf.int32)
    scale = tf.gather(tf.constant(deviations, y_pred.dtype), group)
    return (y_pred - y_true[..., 0]) / scale


class ScaledSquaredError(tf.keras.losses.Loss):
    """The mean over outputs of the squares of scaled errors.

    >>> loss = ScaledSquaredError(lambda y_true, y_pred: (y_pred - y_true) / 2)
    >>> loss(tf.constant([[1.0]]), tf.constant([[5.0]])).numpy()
    4.0
    """

    def __init__(self, error_fn: ErrorFn) -> None:
        """Makes the loss.

        Args:
          error_fn: Gives the errors [batch, outputs], such as
            `error_by_output` with its deviations.
        """
        super().__init__()
        self._error_fn = error_fn

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns each example's loss, float32 [batch].

        Args:
          y_true: Labels as `error_fn` takes them.
          y_pred: Predicted numbers, float32 [batch, outputs].
        """
        error = self._error_fn(y_true, y_pred)
        return tf.reduce_mean(tf.square(error), axis=-1)


def scaled_error_metrics(error_fn: ErrorFn) -> list[tf.keras.metrics.Metric]:
    """Returns "mean_squared_error" and "mean_absolute_error", scaled.

    Args:
      error_fn: Gives the errors [batch, outputs], such as `error_by_group` with
        its deviations.
    """

    @compat.plain
    def squared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(error_fn(y_true, y_pred))

    @compat.plain
    def absolute(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.abs(error_fn(y_true, y_pred))

    return [
        tf.keras.metrics.MeanMetricWrapper(squared, "mean_squared_error"),
        tf.keras.metrics.MeanMetricWrapper(absolute, "mean_absolute_error"),
    ]
