"""Loss and accuracy over the tokens of padded sequences."""

from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.runtime import compat


class TokenCrossEntropy(tf.keras.losses.Loss):
    """The mean cross-entropy of all tokens of a batch that are no padding.

    Metrics average it over batches, weighted by their number of sequences; this
    is the mean over tokens to the extent that batches are filled alike.

    >>> loss = TokenCrossEntropy()
    >>> logits = tf.zeros([1, 2, 2])
    >>> round(float(loss(tf.constant([[1, PADDING]]), logits)), 4)
    0.6931
    """

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the mean, a float32 scalar; 0 if all is padding.

        Args:
          y_true: Token ids, of an integer type, [batch, length].
          y_pred: Logits, float32 [batch, length, ids].
        """
        targets = tf.cast(y_true, tf.int32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, y_pred)
        # In TFF's graphs == and != of tensors compare objects.
        counts = tf.cast(tf.not_equal(targets, PADDING), losses.dtype)
        return tf.math.divide_no_nan(
            tf.reduce_sum(losses * counts), tf.reduce_sum(counts)
        )


class TokenAccuracy(tf.keras.metrics.Mean):
    """The share of tokens that are predicted right, of those that count.

    >>> accuracy = TokenAccuracy()
    >>> logits = tf.constant([[[0.0, 1.0], [0.0, 1.0]]])
    >>> _ = accuracy.update_state(tf.constant([[1, PADDING]]), logits)
    >>> accuracy.result().numpy()
    1.0
    """

    def __init__(
        self,
        name: str = "accuracy",
        dtype: Any = None,
        left_out: Sequence[int] = (PADDING,),
    ):
        """Makes the metric.

        Args:
          name: The metric's name.
          dtype: The type of its sums; Keras's default is float32.
          left_out: Ids whose tokens do not count when they are the target.
        """
        super().__init__(name=name, dtype=dtype)
        self._left_out = list(left_out)

    @compat.plain
    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: Token ids, of an integer type, [batch, length].
          y_pred: Logits, float32 [batch, length, ids].
          sample_weight: Not used; every token that counts has the weight 1.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        del sample_weight
        targets = tf.cast(y_true, tf.int32)
        hits = tf.equal(
            tf.argmax(y_pred, axis=-1, output_type=tf.int32), targets
        )
        counts = tf.reduce_all(
            tf.not_equal(targets[..., tf.newaxis], self._left_out), axis=-1
        )
        return super().update_state(
            tf.cast(hits, tf.float32), tf.cast(counts, tf.float32)
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal metric."""
        return {**super().get_config(), "left_out": self._left_out}
