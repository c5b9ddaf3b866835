"""Matrix factorisation: what a user thinks of an item.

Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for Recommender
Systems", equation 4.
"""

from collections.abc import Sequence

import tensorflow as tf

# Keras's are half as wide; factors that start too near to zero stay there for
# long.
_FIRST_DEVIATION = 0.1


def biased(
    users: int, items: int, rank: int, mean: float, limits: Sequence[float]
) -> tf.keras.Model:
    """The mean, plus both biases, plus the product of both factors.

    Args:
      users: How many there are.
      items: How many there are.
      rank: How many factors each has.
      mean: Of all ratings that are trained on.
      limits: The lowest and the highest rating. While it trains a prediction
        may lie beyond, so that it has a gradient; later it may not.

    Returns:
      A model from "pair", int32 [batch, 2] (user and item, from 0), to the
      rating, float32 [batch, 1]; (users + items) * (rank + 1) parameters.
    """
    pair = tf.keras.Input([2], dtype=tf.int32, name="pair")
    parts = []
    for place, (name, count) in enumerate((("user", users), ("item", items))):
        number = pair[:, place]
        factors = tf.keras.layers.Embedding(
            count,
            rank,
            embeddings_initializer=tf.keras.initializers.RandomNormal(
                stddev=_FIRST_DEVIATION
            ),
            name=f"{name}_factors",
        )(number)
        bias = tf.keras.layers.Embedding(
            count, 1, embeddings_initializer="zeros", name=f"{name}_bias"
        )(number)
        parts.append((factors, bias))
    (tastes, user_bias), (traits, item_bias) = parts
    product = tf.reduce_sum(tastes * traits, axis=1, keepdims=True)
    rating = Within(*limits)(product + user_bias + item_bias + mean)
    return tf.keras.Model(pair, rating)


@tf.keras.utils.register_keras_serializable(package="tff_pipeline")
class Within(tf.keras.layers.Layer):
    """Keeps numbers within limits, but not in training."""

    def __init__(self, lowest: float, highest: float, **kwargs):
        super().__init__(**kwargs)
        self.lowest, self.highest = lowest, highest

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            return inputs
        return tf.clip_by_value(inputs, self.lowest, self.highest)

    def get_config(self) -> dict:
        limits = {"lowest": self.lowest, "highest": self.highest}
        return {**super().get_config(), **limits}
