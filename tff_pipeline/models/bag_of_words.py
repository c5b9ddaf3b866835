"""Linear models of which words a text has."""

from typing import Any

import tensorflow as tf

from tff_pipeline.datasets.words import FIRST_WORD


def logistic_regression(num_ids: int, num_labels: int) -> tf.keras.Model:
    """Independent logistic regressions, a label each, on shares of words.

    As in Reddi et al. 2021, appendix C.4: how often each word of the
    vocabulary occurs, divided by the sum over the vocabulary.

    Args:
      num_ids: How many ids there are: padding, unknown, words.
      num_labels: How many logits come out.

    Returns:
      A model from "tokens", int32 [batch, length], of any length, to logits,
      float32 [batch, num_labels]; 5,000,500 parameters for 10,000 words and
      500 labels.
    """
    tokens = tf.keras.Input([None], dtype="int32", name="tokens")
    shares = WordShares(num_ids)(tokens)
    logits = tf.keras.layers.Dense(num_labels, name="logits")(shares)
    return tf.keras.Model(tokens, logits)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class WordShares(tf.keras.layers.Layer):
    """How often each word occurs, of all occurrences of known words."""

    def __init__(self, num_ids: int, **kwargs: Any):
        """Takes ids below `num_ids`; the first two stand for no word."""
        super().__init__(**kwargs)
        self.num_ids = num_ids

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] to float32 [batch, num_ids - 2]."""
        batch = tf.shape(tokens)[0]
        rows = tf.range(batch)[:, tf.newaxis] + tf.zeros_like(tokens)
        # What converters to other formats know; the same places add up.
        counts = tf.scatter_nd(
            tf.stack([rows, tokens], axis=-1),
            tf.ones_like(tokens, tf.float32),
            [batch, self.num_ids],
        )
        words = counts[:, FIRST_WORD:]
        total = tf.reduce_sum(words, axis=-1, keepdims=True)
        return tf.math.divide_no_nan(words, total)

    def get_config(self) -> dict[str, Any]:
        """What makes another one like this."""
        return {**super().get_config(), "num_ids": self.num_ids}
