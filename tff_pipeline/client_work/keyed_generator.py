"""Random layers that draw the same numbers for the same client and round.

Keras layers such as Dropout draw from generators with hidden state, which
cannot be seeded inside TFF's graphs. Here generators replace them whose draws
are a function of the client's key, the step, the layer and the call.
"""

from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import compat


class KeyedGenerator(compat.RandomGenerator):
    """Replaces a Keras layer's random generator, method by method."""

    def __init__(self, number: int, layer: tf.keras.layers.Layer):
        """Makes a generator; `begin` must be called before it draws.

        Args:
          number: The position of the layer among the model's random layers; it
            makes the draws of layers differ.
          layer: The layer that will draw from the generator.
        """
        self._number = number
        self._layer = layer
        self._calls = 0
        self._seed: Optional[tf.Tensor] = None

    def begin(self, key: tf.Tensor, step: tf.Tensor) -> None:
        """Starts a step.

        Args:
          key: The client's key of the round, an int64 scalar.
          step: The number of the step in the round from 0, an int32 scalar.
        """
        seed = tf.stack([key, tf.cast(step, tf.int64)])
        fold_in = tf.random.experimental.stateless_fold_in
        self._seed = fold_in(seed, tf.constant(self._number, tf.int64))
        self._calls = 0
        # Recurrent cells keep their masks; a new step needs new ones.
        for name in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
            if hasattr(self._layer, name):
                getattr(self._layer, name)()

    def make_seed_for_stateless_op(self) -> tf.Tensor:
        """Returns the seed of the next draw, int64 [2]."""
        self._calls += 1
        fold_in = tf.random.experimental.stateless_fold_in
        return fold_in(self._seed, tf.constant(self._calls, tf.int64))

    def make_legacy_seed(self) -> None:
        """Returns `None`, since operations here are stateless."""

    def random_normal(
        self,
        shape: Any,
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
        nonce: Optional[int] = None,
    ) -> tf.Tensor:
        """Draws from a normal distribution.

        Args:
          shape: The shape of the result.
          mean: The distribution's mean.
          stddev: The distribution's standard deviation.
          dtype: A floating type, float32 by default.
          nonce: Ignored; Keras has it for generators that keep a state.
        """
        del nonce
        return tf.random.stateless_normal(
            shape,
            self.make_seed_for_stateless_op(),
            mean,
            stddev,
            dtype or tf.float32,
        )

    def random_uniform(
        self,
        shape: Any,
        minval: float = 0.0,
        maxval: Optional[float] = None,
        dtype: Any = None,
        nonce: Optional[int] = None,
    ) -> tf.Tensor:
        """Draws from a uniform distribution over [minval, maxval).

        Args:
          shape: The shape of the result.
          minval: The lower bound, included.
          maxval: The upper bound, excluded; 1 by default.
          dtype: A numeric type, float32 by default.
          nonce: Ignored; Keras has it for generators that keep a state.
        """
        del nonce
        return tf.random.stateless_uniform(
            shape,
            self.make_seed_for_stateless_op(),
            minval,
            1.0 if maxval is None else maxval,
            dtype or tf.float32,
        )

    def dropout(
        self, inputs: tf.Tensor, rate: float, noise_shape: Any = None
    ) -> tf.Tensor:
        """Sets numbers to 0 with probability `rate`, and scales up the others.

        Args:
          inputs: A tensor of a floating type.
          rate: The probability, in [0, 1).
          noise_shape: The shape of the draws, broadcast to that of `inputs`,
            which is the default.
        """
        return tf.nn.experimental.stateless_dropout(
            inputs,
            rate,
            self.make_seed_for_stateless_op(),
            noise_shape=noise_shape,
        )


def replace(
    model: tff.learning.models.VariableModel,
) -> list[KeyedGenerator]:
    """Replaces the generators of all random layers of a model.

    Args:
      model: The model; one that wraps no Keras model has no random layers.

    Returns:
      The generators; `begin` must be called for each before a step.
    """
    generators = []
    for number, layer in enumerate(compat.random_layers(model)):
        generators.append(KeyedGenerator(number, layer))
        compat.replace_generator(layer, generators[-1])
    return generators
