"""Linear models of the words that a text contains."""

from typing import Any

import tensorflow as tf

from tff_pipeline.datasets.words import FIRST_WORD


def logistic_regression(num_ids: int, num_labels: int) -> tf.keras.Model:
    """Makes independent logistic regressions, one a label, on shares of words.

    As in Reddi et al. 2021, appendix C.4: an input is the number of occurrences
    of each word of the vocabulary, divided by their sum over the vocabulary.

    Args:
      num_ids: The number of ids: padding, unknown, and the words.
      num_labels: The number of logits.

    Returns:
      A model from "tokens", int32 [batch, length], of any length, to logits,
      float32 [batch, num_labels]; 5,000,500 parameters for 10,000 words and 500
      labels.

    >>> logistic_regression(10_002, 500).count_params()
    5000500
    """
    tokens = tf.keras.Input([None], dtype="int32", name="tokens")
    shares = WordShares(num_ids)(tokens)
    logits = tf.keras.layers.Dense(num_labels, name="logits")(shares)
    return tf.keras.Model(tokens, logits)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class WordShares(tf.keras.layers.Layer):
    """Counts each known word's share of all occurrences of known words.

    >>> WordShares(num_ids=5)(tf.constant([[2, 4, 4, 1, 0, 4]])).numpy()
    array([[0.25, 0.  , 0.75]], dtype=float32)
    """

    def __init__(self, num_ids: int, **kwargs: Any):
        """Makes the layer.

        Args:
          num_ids: Ids lie below it; the first two stand for no known word.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.num_ids = num_ids

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Returns shares, float32 [batch, num_ids - 2]; 0 if no word is known.

        Args:
          tokens: Ids, int32 [batch, length].
        """
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
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "num_ids": self.num_ids}
