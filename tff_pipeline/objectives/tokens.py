"""Loss and metrics of language models, as sums over the tokens that count.

A language model gives for each token of a text after the first a pair: its
cross-entropy in nats, and 1 if it was the likeliest, else 0. The labels are
pairs as well: the token's weight in the loss, and the number of characters that
it stands for. All figures are quotients of sums, so that they do not depend on
how texts are cut into batches.
"""

import math
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.runtime import compat


class TokenNats(tf.keras.losses.Loss):
    """The mean cross-entropy in nats of the tokens that count.

    >>> scores = tf.constant([[[2.0, 0.0], [4.0, 1.0], [9.0, 0.0]]])
    >>> labels = tf.constant([[[1.0, 3.0], [1.0, 1.0], [0.0, 0.0]]])
    >>> TokenNats()(labels, scores).numpy()
    3.0
    """

    @compat.plain
    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the mean, a float32 scalar; 0 if no token counts.

        Args:
          y_true: Weights and characters, float32 [batch, length, 2].
          y_pred: Nats and hits, float32 [batch, length, 2].
        """
        weights = y_true[..., 0]
        return tf.math.divide_no_nan(
            tf.reduce_sum(y_pred[..., 0] * weights), tf.reduce_sum(weights)
        )

    def terms(self, y_true: tf.Tensor) -> tf.Tensor:
        """Returns the weight of a batch's mean, a float32 scalar.

        Args:
          y_true: As for `call`.
        """
        return tf.reduce_sum(y_true[..., 0])


class _TokenMean(tf.keras.metrics.Mean):
    """A quotient of two sums over the tokens that count."""

    _name = ""

    def __init__(self, name: Optional[str] = None, dtype: Any = None):
        super().__init__(name=name or self._name, dtype=dtype)

    def _pair(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
        """Returns what is summed above and below the line, [batch, length]."""
        raise NotImplementedError

    @compat.plain
    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: Optional[tf.Tensor] = None,
    ) -> Any:
        """Adds a batch.

        Args:
          y_true: Weights and characters, float32 [batch, length, 2].
          y_pred: Nats and hits, float32 [batch, length, 2].
          sample_weight: Not used; tokens have weights of their own.

        Returns:
          The update, as `tf.keras.metrics.Mean` does.
        """
        del sample_weight
        above, below = map(tf.reduce_sum, self._pair(y_true, y_pred))
        return super().update_state(tf.math.divide_no_nan(above, below), below)


class NextTokenAccuracy(_TokenMean):
    """The share of tokens that were the likeliest.

    >>> accuracy = NextTokenAccuracy()
    >>> scores = tf.constant([[[2.0, 0.0], [4.0, 1.0], [9.0, 0.0]]])
    >>> labels = tf.constant([[[1.0, 3.0], [1.0, 1.0], [0.0, 0.0]]])
    >>> _ = accuracy.update_state(labels, scores)
    >>> accuracy.result().numpy()
    0.5
    """

    _name = "accuracy"

    def _pair(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
        return y_pred[..., 1] * y_true[..., 0], y_true[..., 0]


class BitsPerCharacter(_TokenMean):
    """The cross-entropy in bits of a character.

    Unlike the loss a token it may be compared between tokenizers. Tokens that
    stand for no character, such as the end of a text, count above the line
    alone.

    >>> bits = BitsPerCharacter()
    >>> scores = tf.constant([[[math.log(2.0) * 3.0, 0.0]]])
    >>> _ = bits.update_state(tf.constant([[[1.0, 2.0]]]), scores)
    >>> bits.result().numpy()
    1.5
    """

    _name = "bits_per_character"

    def _pair(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
        bits = y_pred[..., 0] * y_true[..., 0] / math.log(2.0)
        return bits, y_true[..., 1]


class Perplexity(_TokenMean):
    """The exponential of the cross-entropy in nats a token.

    >>> perplexity = Perplexity()
    >>> scores = tf.constant([[[math.log(8.0), 0.0]]])
    >>> _ = perplexity.update_state(tf.constant([[[1.0, 2.0]]]), scores)
    >>> round(float(perplexity.result()), 4)
    8.0
    """

    _name = "perplexity"

    def _pair(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[Any, Any]:
        return y_pred[..., 0] * y_true[..., 0], y_true[..., 0]

    @compat.plain
    def result(self) -> tf.Tensor:
        """Returns the perplexity, a float32 scalar."""
        return tf.exp(super().result())
