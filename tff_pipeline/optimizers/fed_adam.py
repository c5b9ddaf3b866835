"""FedAdam, FedYogi, FedAdagrad as in their paper: no start is corrected.

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

from tff_pipeline.optimizers import rates

State = collections.OrderedDict[str, Any]

_KEY = tff.learning.optimizers.LEARNING_RATE_KEY


class FedAdam(rates.WithRate):
    """Steps of learning_rate * mean / (sqrt(mean of squares) + epsilon).

    The state is the learning rate, a scalar, and the two means, structures of
    tensors shaped like the weights.
    """

    def __init__(
        self,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ):
        """Sets the paper's constants.

        Args:
          learning_rate: The server learning rate, eta.
          beta_1: Decay of the mean of gradients.
          beta_2: Decay of the mean of squared gradients.
          epsilon: Adaptivity, tau; the mean of squares starts at its square.
        """
        self._learning_rate = learning_rate
        self._beta_1 = beta_1
        self._beta_2 = beta_2
        self._epsilon = epsilon

    def initialize(self, specs: Any) -> State:
        """Builds the state before the first step.

        Args:
          specs: A structure of `tf.TensorSpec`, the weights'.

        Returns:
          The learning rate, `mean` and `square`.
        """

        def filled(value: float) -> Any:
            return tf.nest.map_structure(
                lambda spec: tf.fill(spec.shape, tf.cast(value, spec.dtype)),
                specs,
            )

        return collections.OrderedDict(
            [
                (_KEY, self._learning_rate),
                ("mean", filled(0.0)),
                ("square", filled(self._epsilon**2)),
            ]
        )

    def next(
        self, state: State, weights: Any, gradients: Any
    ) -> tuple[State, Any]:
        """Takes a step.

        Args:
          state: What `initialize` or this method returned.
          weights: A structure of tensors.
          gradients: A structure of tensors or `tf.IndexedSlices` of the
            weights' shapes.

        Returns:
          (the next state, the next weights).
        """
        # Gradients of embeddings come as slices.
        gradients = tf.nest.map_structure(tf.convert_to_tensor, gradients)
        mean = tf.nest.map_structure(
            lambda m, g: self._beta_1 * m + (1 - self._beta_1) * g,
            state["mean"],
            gradients,
        )
        square = tf.nest.map_structure(
            self._next_square, state["square"], gradients
        )
        rate = state[_KEY]
        weights = tf.nest.map_structure(
            lambda w, m, s: w - rate * m / (tf.sqrt(s) + self._epsilon),
            weights,
            mean,
            square,
        )
        return collections.OrderedDict(
            [(_KEY, rate), ("mean", mean), ("square", square)]
        ), weights

    def _next_square(self, square: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns a weight's mean of squares after a step."""
        return self._beta_2 * square + (1 - self._beta_2) * gradient**2


class FedYogi(FedAdam):
    """FedAdam whose mean of squares moves by (1 - beta_2) gradient**2 at most.

    Reddi et al. 2021, algorithm 2, FedYogi: it moves towards gradient**2, by
    that much however far away it is. Yogi elsewhere, and TFF's, corrects the
    means' start.
    """

    def _next_square(self, square: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns a weight's mean of squares after a step."""
        towards = tf.sign(square - gradient**2)
        return square - (1 - self._beta_2) * gradient**2 * towards


class FedAdagrad(FedAdam):
    """FedAdam with the sum of squares in place of their mean.

    Reddi et al. 2021, algorithm 2, FedAdagrad; in the paper's experiments its
    beta_1 is 0.
    """

    def __init__(self, learning_rate: float, beta_1: float, epsilon: float):
        """Sets the paper's constants.

        Args:
          learning_rate: The server learning rate, eta.
          beta_1: Decay of the mean of gradients.
          epsilon: Adaptivity, tau; the sum of squares starts at its square.
        """
        super().__init__(learning_rate, beta_1, 1.0, epsilon)

    def _next_square(self, square: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Returns a weight's sum of squares after a step."""
        return square + gradient**2
