"""Loss and accuracy over the tokens of padded sequences."""

from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.datasets.sequences import PADDING


class TokenCrossEntropy(tf.keras.losses.Loss):
    """The mean cross-entropy of all tokens of a batch that are no padding.

    As a "loss" of many batches, which count by their sequences, it is their
    mean to the extent that they are filled alike.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """The mean, a float32 scalar.

        Args:
          y_true: Ids, of an integer type, [batch, length].
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
    """The share of tokens that are predicted, of those that count."""

    def __init__(
        self,
        name: str = "accuracy",
        dtype: Any = None,
        left_out: Sequence[int] = (PADDING,),
    ):
        """Makes it; targets that are one of `left_out` do not count."""
        super().__init__(name=name, dtype=dtype)
        self._left_out = list(left_out)

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch; shapes as in `TokenCrossEntropy.call`."""
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
        """What makes another one like this."""
        return {**super().get_config(), "left_out": self._left_out}
