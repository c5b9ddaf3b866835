"""Muon: steps along orthogonal matrices, and Adam's for what is no matrix.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
Of a matrix's momentum U S V^T the step is U V^T, so that it is as long in all
directions; five Newton-Schulz steps come near to it without a decomposition.

Muon is for the matrices of hidden layers. Embeddings and the logits' matrix,
which are no maps between hidden layers, vectors, scalars and kernels of
convolutions are left to Adam, whose learning rate is in proportion. A matrix
does not tell what it is for: how many of the first and the last matrices are
such is an option. Where a model's blocks have their matrices in one weight
[blocks, outputs, inputs], as `models.transformer` has, these are Muon's, block
by block, and all others Adam's.
"""

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.optimizers import rates

State = collections.OrderedDict[str, Any]

_KEY = tff.learning.optimizers.LEARNING_RATE_KEY
# The paper's polynomial, which brings singular values near 1 quickly, and
# leaves them between 0.68 and 1.21.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_NUM_STEPS = 5
_SMALLEST_NORM = 1e-7


class Muon(rates.WithRate):
    """Steps of learning_rate * sqrt(max(1, outputs / inputs)) * U V^T.

    The state is the learning rate, a scalar; the number of steps; `mean`, the
    momentum or Adam's mean of gradients, and `square`, Adam's mean of squares,
    lists in the order of the weights, the second for Adam's weights alone.
    """

    def __init__(
        self,
        learning_rate: float,
        momentum: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        adam_factor: float,
        adam_first: int,
        adam_last: int,
    ):
        """Sets the constants.

        Args:
          learning_rate: The learning rate of matrices.
          momentum: The share of the last momentum that is kept.
          beta_1: Decay of Adam's mean of gradients.
          beta_2: Decay of Adam's mean of squared gradients.
          epsilon: The number added to Adam's denominator.
          adam_factor: Adam's learning rate over that of matrices.
          adam_first: The number of matrices, from the model's first, that are
            Adam's: its embeddings.
          adam_last: The number of matrices, from the model's last, that are
            Adam's: 1 if the logits have a matrix of their own.
        """
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._beta_1 = beta_1
        self._beta_2 = beta_2
        self._epsilon = epsilon
        self._adam_factor = adam_factor
        self._adam_first = adam_first
        self._adam_last = adam_last

    def _orthogonalized(self, weights: Sequence[Any]) -> list[bool]:
        """Returns for each weight whether it is a matrix of Muon's."""
        stacks = [len(weight.shape) == 3 for weight in weights]
        if any(stacks):
            return stacks
        matrices = [n for n, w in enumerate(weights) if len(w.shape) == 2]
        end = max(len(matrices) - self._adam_last, 0)
        ours = set(matrices[self._adam_first : end])
        return [number in ours for number in range(len(weights))]

    def initialize(self, specs: Any) -> State:
        """Builds the state before the first step.

        Args:
          specs: A structure of `tf.TensorSpec`, the weights'.

        Returns:
          The learning rate, `step`, `mean` and `square`.
        """
        specs = tf.nest.flatten(specs)
        zeros = [tf.zeros(spec.shape, spec.dtype) for spec in specs]
        return collections.OrderedDict(
            [
                (_KEY, self._learning_rate),
                ("step", 0),
                ("mean", zeros),
                (
                    "square",
                    [
                        zero
                        for zero, ours in zip(
                            zeros, self._orthogonalized(specs)
                        )
                        if not ours
                    ],
                ),
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
        rate, step = state[_KEY], state["step"] + 1
        flat = tf.nest.flatten(weights)
        # Gradients of embeddings come as slices.
        slopes = [
            tf.convert_to_tensor(gradient)
            for gradient in tf.nest.flatten(gradients)
        ]
        squares = iter(state["square"])
        means, next_squares, next_weights = [], [], []
        for weight, slope, mean, ours in zip(
            flat, slopes, state["mean"], self._orthogonalized(flat)
        ):
            if ours:
                mean = self._momentum * mean + slope
                # Nesterov's momentum looks a step ahead.
                update = matrix_update(self._momentum * mean + slope)
            else:
                mean = self._beta_1 * mean + (1 - self._beta_1) * slope
                square = (
                    self._beta_2 * next(squares) + (1 - self._beta_2) * slope**2
                )
                update = self._adam_factor * self._adam(mean, square, step)
                next_squares.append(square)
            means.append(mean)
            next_weights.append(weight - rate * update)
        state = collections.OrderedDict(
            [
                (_KEY, rate),
                ("step", step),
                ("mean", means),
                ("square", next_squares),
            ]
        )
        return state, tf.nest.pack_sequence_as(weights, next_weights)

    def _adam(self, mean: Any, square: Any, step: Any) -> tf.Tensor:
        """Computes Adam's update, of means corrected for their start at 0."""
        step = tf.cast(step, mean.dtype)
        mean = mean / (1 - self._beta_1**step)
        square = square / (1 - self._beta_2**step)
        return mean / (tf.sqrt(square) + self._epsilon)


def matrix_update(matrix: Any) -> tf.Tensor:
    """Makes a matrix orthogonal, and as large as its shape needs.

    The factor sqrt(max(1, outputs / inputs)) lets a matrix with many outputs
    change them as much as a square one (Jordan et al. 2024). Three matrices of
    queries, keys and values in one, [3 * width, width], are three.

    Args:
      matrix: [..., outputs, inputs], floating-point.

    Returns:
      A tensor of the same shape.
    """
    outputs, inputs = matrix.shape[-2:]
    parts = 3 if outputs == 3 * inputs else 1
    scale = max(1.0, outputs / parts / inputs) ** 0.5
    return scale * tf.concat(
        [orthogonalize(part) for part in tf.split(matrix, parts, -2)], axis=-2
    )


def orthogonalize(matrix: Any) -> tf.Tensor:
    """Brings all singular values of a matrix near 1, by Newton-Schulz steps.

    A step is X <- a X + b (X X^T) X + c (X X^T)^2 X with X of norm 1 at first.
    It leaves the singular vectors, and maps each singular value s to
    a s + b s^3 + c s^5 (Jordan et al. 2024). Those of at least 0.0016 of
    the matrix's norm end between 0.68 and 1.21.

    Args:
      matrix: [..., rows, columns], floating-point.

    Returns:
      A tensor of the same shape; zeros stay zeros.
    """
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if wide else tf.linalg.matrix_transpose(matrix)
    norm = tf.norm(x, axis=[-2, -1], keepdims=True)
    x = x / (norm + _SMALLEST_NORM)
    for _ in range(_NUM_STEPS):
        square = tf.matmul(x, x, transpose_b=True)
        x = _A * x + tf.matmul(_B * square + _C * tf.matmul(square, square), x)
    return x if wide else tf.linalg.matrix_transpose(x)
