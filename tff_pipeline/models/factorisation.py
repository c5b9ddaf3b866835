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
    users: int,
    items: int,
    rank: int,
    mean: float,
    limits: Sequence[float],
    *,
    penalty: float = 0.0,
) -> tf.keras.Model:
    """Makes a model that adds the mean, two biases and a product of factors.

    The rating of item i by user u is mean + bias_u + bias_i + q_i . p_u (Koren
    et al. 2009, equation 4). Biases start at 0 and factors near 0, so that the
    first prediction is the mean for everyone.

    In training every rating adds penalty * (bias_u**2 + bias_i**2 + |q_i|**2 +
    |p_u|**2) to its squared error (equation 5), see `Penalized`. As the penalty
    belongs to the rating, a client moves nothing but its own row and those of
    the items that it rated. A regularizer of a whole table would differ: every
    client would shrink every item, and most items are rated by few clients, so
    that they would be gone before one that knows them takes part again.

    Args:
      users: The number of users.
      items: The number of items.
      rank: The number of factors of each user and item.
      mean: The mean of all ratings that are trained on.
      limits: The lowest and the highest rating. A prediction may lie beyond
        while the model trains, so that it has a gradient, but not afterwards.
      penalty: The weight of a rating's penalty, lambda in equation 5.

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
        parts.append((Penalized(penalty)(factors), Penalized(penalty)(bias)))
    (tastes, user_bias), (traits, item_bias) = parts
    product = tf.reduce_sum(tastes * traits, axis=1, keepdims=True)
    rating = Within(*limits)(product + user_bias + item_bias + mean)
    return tf.keras.Model(pair, rating)


@tf.keras.utils.register_keras_serializable(package="tff_pipeline")
class Penalized(tf.keras.layers.Layer):
    """Adds the gradient of an L2 penalty on the rows of a batch, in training.

    The values stay as they are. Their gradient is that of the loss plus that of
    penalty * (sum of squares of all rows) / batch, as if a mean over the batch
    had the term penalty * |row|**2 for each example. It is no loss of Keras
    (`add_loss`), which TFF's graphs do not take; the loss that is reported is
    without it.

    >>> rows = tf.constant([[3.0], [4.0]])
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(rows)
    ...     loss = tf.reduce_mean(Penalized(0.5)(rows, training=True))
    >>> tape.gradient(loss, rows).numpy().tolist()
    [[2.0], [2.5]]
    """

    def __init__(self, penalty: float, **kwargs: Any):
        """Makes the layer.

        Args:
          penalty: The weight of the sum of squares of an example's row.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.penalty = penalty

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the rows as they are.

        Args:
          inputs: A row for each example, float32 [batch, ...].
          training: True in training, where the penalty has a gradient.
        """
        if not training:
            return inputs

        @tf.custom_gradient
        def penalized(rows: tf.Tensor) -> Any:
            examples = tf.cast(tf.shape(rows)[0], rows.dtype)
            own = 2.0 * self.penalty * rows / examples
            return tf.identity(rows), lambda upstream: upstream + own

        return penalized(inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "penalty": self.penalty}


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
