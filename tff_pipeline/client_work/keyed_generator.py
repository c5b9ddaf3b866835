"""Random layers that draw the same numbers for the same client and round.

Keras layers such as Dropout draw from generators with hidden state, which no
seed reaches inside TFF's graphs. Their generators are replaced by ones that are
a function of a client's key, the step, the layer and the call.
"""

from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import compat


class KeyedGenerator(compat.RandomGenerator):
    """Stands in for a Keras layer's random generator, method by method."""

    def __init__(self, number: int, layer: tf.keras.layers.Layer):
        """Makes the one of `layer`; `number` tells it from other layers'."""
        self._number = number
        self._layer = layer
        self._calls = 0
        self._seed: Optional[tf.Tensor] = None

    def begin(self, key: tf.Tensor, step: tf.Tensor) -> None:
        """Starts a step.

        Args:
          key: An int64 scalar, the client's of this round.
          step: An int32 scalar, which of its steps.
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
        """The seed, int64 [2], of the next draw."""
        self._calls += 1
        fold_in = tf.random.experimental.stateless_fold_in
        return fold_in(self._seed, tf.constant(self._calls, tf.int64))

    def make_legacy_seed(self) -> None:
        """None, which Keras passes to operations that take no state."""

    def random_normal(
        self,
        shape: Any,
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
        nonce: Optional[int] = None,
    ) -> tf.Tensor:
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
        return tf.nn.experimental.stateless_dropout(
            inputs,
            rate,
            self.make_seed_for_stateless_op(),
            noise_shape=noise_shape,
        )


def replace(
    model: tff.learning.models.VariableModel,
) -> list[KeyedGenerator]:
    """Gives all random layers of `model` generators with keys.

    Returns:
      The generators; `begin` must be called for each before a step.
    """
    generators = []
    for number, layer in enumerate(compat.random_layers(model)):
        generators.append(KeyedGenerator(number, layer))
        compat.replace_generator(layer, generators[-1])
    return generators
