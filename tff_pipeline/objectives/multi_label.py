"""Loss and recall of examples that may have several labels."""

from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.runtime import compat


class LabelCrossEntropy(tf.keras.losses.Loss):
    """The cross-entropy of independent labels, summed over the labels.

    >>> loss = LabelCrossEntropy()
    >>> round(float(loss(tf.constant([[1.0, 0.0]]), tf.zeros([1, 2]))), 4)
    1.3863
    """

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns each example's loss, float32 [batch].

        Args:
          y_true: 1 for an example's labels, else 0, float32 [batch, labels].
          y_pred: Logits, float32 [batch, labels].
        """
        losses = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
        return tf.reduce_sum(losses, axis=-1)


class RecallAtK(tf.keras.metrics.Mean):
    """The share of all labels that are among their example's k likeliest.

    >>> recall = RecallAtK(1)
    >>> logits = tf.constant([[3.0, 2.0, 1.0]])
    >>> _ = recall.update_state([[1.0, 1.0, 0.0]], logits)
    >>> recall.result().numpy()
    0.5
    """

    def __init__(self, k: int, name: Optional[str] = None, dtype: Any = None):
        """Makes the metric.

        Args:
          k: How many of an example's likeliest labels count as predicted.
          name: The metric's name; by default "recall_at_5" for a `k` of 5.
          dtype: The type of its sums; Keras's default is float32.
        """
        super().__init__(name=name or f"recall_at_{k}", dtype=dtype)
        self._k = k

    @compat.plain
    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: 1 for an example's labels, else 0, float32 [batch, labels].
          y_pred: Logits, float32 [batch, labels].
          sample_weight: Not used; every label counts the same.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        del sample_weight
        most = min(self._k, y_pred.shape[-1])
        likeliest = tf.math.top_k(y_pred, most).indices
        hits = tf.reduce_sum(
            tf.gather(y_true, likeliest, axis=1, batch_dims=1), axis=-1
        )
        labels = tf.reduce_sum(y_true, axis=-1)
        return super().update_state(tf.math.divide_no_nan(hits, labels), labels)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal metric."""
        return {**super().get_config(), "k": self._k}
