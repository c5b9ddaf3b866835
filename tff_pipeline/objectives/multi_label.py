"""Loss and recall of labels of which an example may have several."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.objectives import outputs


class LabelCrossEntropy(tf.keras.losses.Loss):
    """Cross-entropy of independent labels, summed over them."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Each example's loss, float32 [batch].

        Args:
          y_true: 1 for an example's labels, else 0, float32 [batch, labels].
          y_pred: Logits, float32 [batch, labels].
        """
        losses = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
        return tf.reduce_sum(losses, axis=-1)


class RecallAtK(tf.keras.metrics.Mean):
    """The share of all labels that are among their example's k likeliest."""

    def __init__(self, k: int, name: Optional[str] = None, dtype: Any = None):
        """Makes it, as "recall_at_5" for 5."""
        super().__init__(name=name or f"recall_at_{k}", dtype=dtype)
        self._k = k

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch; shapes as in `LabelCrossEntropy.call`."""
        del sample_weight
        most = min(self._k, y_pred.shape[-1])
        likeliest = tf.math.top_k(y_pred, most).indices
        hits = tf.reduce_sum(
            tf.gather(y_true, likeliest, axis=1, batch_dims=1), axis=-1
        )
        labels = tf.reduce_sum(y_true, axis=-1)
        return super().update_state(tf.math.divide_no_nan(hits, labels), labels)

    def get_config(self) -> dict[str, Any]:
        """What makes another one like this."""
        return {**super().get_config(), "k": self._k}


def of_tags(
    tags: Sequence[str],
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Outputs of labels that have names, and `tags`, the five likeliest."""

    def named(logits: tf.Tensor) -> dict[str, tf.Tensor]:
        likeliest = tf.math.top_k(logits, min(5, len(tags))).indices
        return {
            **outputs.of_labels(logits),
            "tags": tf.gather(tf.constant(list(tags)), likeliest),
        }

    return named
