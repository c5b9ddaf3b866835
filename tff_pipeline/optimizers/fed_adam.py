"""FedAdam as its paper has it: Adam that does not correct its means' start.

Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2. Both moving
means start low, at 0 and tau**2, and Kingma and Ba's Adam, which is TFF's,
makes up for that. Here nothing does: as the mean of squares lags behind (beta_2
is above beta_1), steps of the first rounds are several times as long as the
learning rate, and results that were tuned so need it so.
"""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff


class FedAdam(tff.learning.optimizers.Optimizer):
    """Steps of learning_rate * mean / (sqrt(mean of squares) + epsilon)."""

    def __init__(
        self,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ):
        """Takes the paper's eta, beta_1, beta_2 and tau."""
        self._learning_rate = learning_rate
        self._beta_1 = beta_1
        self._beta_2 = beta_2
        self._epsilon = epsilon

    def initialize(self, specs: Any) -> collections.OrderedDict:
        def filled(value: float) -> Any:
            return tf.nest.map_structure(
                lambda spec: tf.fill(spec.shape, tf.cast(value, spec.dtype)),
                specs,
            )

        return collections.OrderedDict(
            mean=filled(0.0), square=filled(self._epsilon**2)
        )

    def next(
        self, state: collections.OrderedDict, weights: Any, gradients: Any
    ) -> tuple[collections.OrderedDict, Any]:
        # Those of embeddings come as slices.
        gradients = tf.nest.map_structure(tf.convert_to_tensor, gradients)
        mean = tf.nest.map_structure(
            lambda m, g: self._beta_1 * m + (1 - self._beta_1) * g,
            state["mean"],
            gradients,
        )
        square = tf.nest.map_structure(
            lambda s, g: self._beta_2 * s + (1 - self._beta_2) * g**2,
            state["square"],
            gradients,
        )
        weights = tf.nest.map_structure(
            lambda w, m, s: (
                w - self._learning_rate * m / (tf.sqrt(s) + self._epsilon)
            ),
            weights,
            mean,
            square,
        )
        return collections.OrderedDict(mean=mean, square=square), weights
