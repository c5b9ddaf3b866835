"""Metrics of predicted ratings."""

from typing import Any, Optional

import tensorflow as tf


class StarAccuracy(tf.keras.metrics.Mean):
    """The share of ratings whose nearest whole star is the right one.

    >>> accuracy = StarAccuracy()
    >>> _ = accuracy.update_state([[4.0], [4.0]], [[3.6], [3.4]])
    >>> accuracy.result().numpy()
    0.5
    """

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: Stars, float32 [batch, 1], whole numbers.
          y_pred: Predicted stars, of the same shape and type.
          sample_weight: Weights of the examples; `None` for all alike.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        right = tf.cast(tf.equal(tf.round(y_pred), y_true), tf.float32)
        return super().update_state(right, sample_weight)
