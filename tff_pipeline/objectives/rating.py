"""Metrics of predicted ratings."""

from typing import Any, Optional

import tensorflow as tf


class StarAccuracy(tf.keras.metrics.Mean):
    """The share of ratings whose nearest star is the right one.

    >>> accuracy = StarAccuracy()
    >>> _ = accuracy.update_state([[4.0], [4.0]], [[3.6], [3.4]])
    >>> accuracy.result().numpy()
    0.5
    """

    def __init__(self, step: float = 1.0, **kwargs: Any):
        """Makes the metric.

        Args:
          step: The difference of two ratings next to each other, such as 0.5.
          **kwargs: Arguments of `tf.keras.metrics.Mean`.
        """
        super().__init__(**kwargs)
        self.step = step

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: Stars, float32 [batch, 1], multiples of `step`.
          y_pred: Predicted stars, of the same shape and type.
          sample_weight: Weights of the examples; `None` for all alike.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        nearest = tf.round(tf.divide(y_pred, self.step)) * self.step
        right = tf.cast(tf.equal(nearest, y_true), tf.float32)
        return super().update_state(right, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal metric."""
        return {**super().get_config(), "step": self.step}
