"""Matrix factorisation: models of how a user rates an item.

Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for Recommender
Systems", equation 4.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Keras starts factors half as wide; so near to zero they stay there for long.
_FIRST_DEVIATION = 0.1


def biased_factorisation(
    users: int, items: int, rank: int, mean: float, limits: Sequence[float]
) -> tf.keras.Model:
    """Makes a model that adds the mean, two biases and a product of factors.

    The rating of item i by user u is mean + bias_u + bias_i + q_i . p_u (Koren
    et al. 2009, equation 4).

    Args:
      users: The number of users.
      items: The number of items.
      rank: The number of factors of each user and item.
      mean: The mean of all ratings that are trained on.
      limits: The lowest and the highest rating. A prediction may lie beyond
        while the model trains, so that it has a gradient, but not afterwards.

    Returns:
      A model from "pair", int32 [batch, 2] (user and item, from 0), to the
      rating, float32 [batch, 1]; (users + items) * (rank + 1) parameters.

    >>> biased_factorisation(10, 20, 8, 3.5, (1.0, 5.0)).count_params()
    270
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
    """Clips numbers to limits, except in training.

    >>> Within(1.0, 5.0)(tf.constant([0.0, 3.0, 9.0])).numpy()
    array([1., 3., 5.], dtype=float32)
    """

    def __init__(self, lowest: float, highest: float, **kwargs: Any):
        """Makes the layer.

        Args:
          lowest: The least number.
          highest: The greatest number.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.lowest, self.highest = lowest, highest

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the numbers, float32 of the shape of `inputs`.

        Args:
          inputs: float32, of any shape.
          training: True in training, where the numbers stay as they are.
        """
        if training:
            return inputs
        return tf.clip_by_value(inputs, self.lowest, self.highest)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        limits = {"lowest": self.lowest, "highest": self.highest}
        return {**super().get_config(), **limits}
