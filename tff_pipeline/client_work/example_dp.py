"""Steps of DP-SGD: gradients of examples, clipped one by one, with noise.

Abadi et al. 2016, algorithm 1: every example of the client is in a step's batch
on its own with probability batch_size / examples, so that a batch may be empty;
gradients of its examples are clipped and summed up, noise is added, and the sum
is divided by the number of examples that was expected. As in Opacus.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.private.noise import fold, standard_normal
from tff_pipeline.client_work.hooks import ClientHook, GradientsFn, Step

Array = npt.NDArray[Any]

# What is clipped is scaled to a hair below the clip, so that rounding each
# number to float32 does not lift it above; norms are exact.
_BELOW = 1.0 - 2.0**-20


class ExampleDp(ClientHook):
    """Replaces the gradient of every step by that of DP-SGD.

    It measures nothing, for exact metrics of training would not be private.

    Attributes:
      block_spec: What it wants in a client's block beside the rest: the noise
        multiplier, which depends on how many examples the client has.
    """

    name = "example_dp"

    def __init__(
        self,
        loss_fn: Callable[[Any, Any], tf.Tensor],
        clip: float,
        batch_size: int,
        key: Array,
    ):
        """Makes it.

        Args:
          loss_fn: (labels [1, ...], outputs [1, ...]) -> the loss. What a model
            adds to its loss, such as a regularization, is left out.
          clip: Largest L2 norm of an example's gradient.
          batch_size: How many examples a step expects.
          key: int64 [2]; all clients' batches and noise come of it. It must be
            known to nobody who sees an update.
        """
        self.block_spec = {"noise_multiplier": tf.TensorSpec([], tf.float32)}
        self._loss_fn = loss_fn
        self._clip = clip
        self._batch_size = batch_size
        self._key = np.asarray(key, np.int64)

    def describe(self) -> str:
        """Says that gradients of examples are clipped and have noise."""
        return (
            "learned from gradients of single examples, each clipped to "
            f"{self._clip:g}, with noise"
        )

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[list[tf.Tensor], Any]:
        """Takes the gradient of a step; `gradients_fn` is not asked."""
        del gradients_fn
        return self.gradient(step.model, step.block, step.number), state

    def gradient(
        self,
        model: tff.learning.models.VariableModel,
        block: Mapping[str, tf.Tensor],
        step: tf.Tensor,
    ) -> list[tf.Tensor]:
        """The gradient of a step, a tensor for each trainable variable.

        Args:
          model: At the step's weights.
          block: The client's, as `client_block` makes it.
          step: Which of the round's steps, an int32 scalar.
        """
        # The block's key is of this client in this round.
        key = fold(self._key, block["key"])
        number = 2 * tf.cast(step, tf.int64)
        examples = tf.shape(block["x"])[0]
        expected = tf.minimum(self._batch_size, examples)
        chosen = _poisson_sample(fold(key, number + 1), examples, expected)
        total = self._clipped_sum(model, block, chosen)
        noise = standard_normal(
            key,
            number,
            [tf.TensorSpec(each.shape, each.dtype) for each in total],
        )
        deviation = block["noise_multiplier"] * self._clip
        count = tf.cast(expected, tf.float32)
        return [
            (each + tf.cast(deviation, each.dtype) * normal)
            / tf.cast(count, each.dtype)
            for each, normal in zip(total, noise)
        ]

    def _clipped_sum(
        self,
        model: tff.learning.models.VariableModel,
        block: Mapping[str, tf.Tensor],
        chosen: tf.Tensor,
    ) -> list[tf.Tensor]:
        """The sum of the clipped gradients of the examples at `chosen`."""
        variables = model.trainable_variables
        # An empty map has no shapes; an example that does not count has.
        counts = tf.ones_like(chosen, tf.bool)
        nobody = tf.equal(tf.size(chosen), 0)
        chosen, counts = tf.cond(
            nobody,
            lambda: (tf.zeros([1], chosen.dtype), tf.constant([False])),
            lambda: (chosen, counts),
        )

        def gradient(example: Any) -> list[tf.Tensor]:
            x, y = (each[tf.newaxis] for each in example)
            with tf.GradientTape() as tape:
                output = model.predict_on_batch(x, training=True)
                loss = self._loss_fn(y, output)
            # Dense, for clipping wants the norm of what is summed up.
            return [
                tf.convert_to_tensor(each)
                for each in tape.gradient(
                    loss, variables, unconnected_gradients="zero"
                )
            ]

        batch = (tf.gather(block["x"], chosen), tf.gather(block["y"], chosen))
        gradients = _map(gradient, batch, variables)
        return [
            tf.ensure_shape(each, variable.shape)
            for each, variable in zip(
                clipped_sum(gradients, counts, self._clip), variables
            )
        ]


def _map(
    gradient: Callable[[Any], list[tf.Tensor]],
    batch: tuple[tf.Tensor, tf.Tensor],
    variables: Sequence[tf.Variable],
) -> list[tf.Tensor]:
    """The gradient of each example, tensors [n, ...].

    All at once, unless there is a loop in it, as in recurrent layers, which
    `tf.vectorized_map` cannot turn into one of batches; then one by one.
    """
    one = [tf.TensorSpec(each.shape[1:], each.dtype) for each in batch]
    traced = tf.function(lambda x, y: gradient((x, y)), autograph=False)
    graph = traced.get_concrete_function(*one).graph.as_graph_def()
    nodes = [graph.node, *(each.node_def for each in graph.library.function)]
    if any("While" in node.op for part in nodes for node in part):
        specs = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
        return tf.map_fn(gradient, batch, fn_output_signature=specs)
    return tf.vectorized_map(gradient, batch)


def learns_from_one(
    model: tf.keras.Model,
    loss_fn: Callable[[Any, Any], tf.Tensor],
    x: Array,
    y: Array,
) -> bool:
    """Whether the loss of some single example says how to change the model.

    That of a survival model does not: it compares examples.

    Args:
      model: Any.
      loss_fn: Its loss.
      x: Inputs [n, ...].
      y: Labels [n, ...].
    """

    def learns(place: int) -> bool:
        row = slice(place, place + 1)
        with tf.GradientTape() as tape:
            output = model(tf.constant(x[row]), training=False)
            loss = loss_fn(tf.constant(y[row]), output)
        gradient = tape.gradient(loss, output)
        return gradient is not None and bool(tf.reduce_any(gradient != 0))

    return any(map(learns, range(len(y))))


def _poisson_sample(
    seed: tf.Tensor, examples: tf.Tensor, expected: tf.Tensor
) -> tf.Tensor:
    """Places in range(examples), int64 [any], each with the same chance."""
    draws = tf.random.stateless_uniform([examples], seed, dtype=tf.float64)
    chance = tf.cast(expected, tf.float64) / tf.cast(examples, tf.float64)
    return tf.reshape(tf.where(draws < chance), [-1])


def clipped_sum(
    gradients: Sequence[tf.Tensor], counts: tf.Tensor, clip: float
) -> list[tf.Tensor]:
    """The sum over examples of gradients scaled down to an L2 norm of `clip`.

    Norms and sums are taken in float64, in which no float32's square overflows.
    What is not finite becomes zeros, which is a bound too.

    Args:
      gradients: Tensors [n, ...], together n vectors.
      counts: bool [n]; a vector that does not count adds nothing.
      clip: Above 0.

    Returns:
      Tensors [...], of the types of `gradients`.
    """
    flat = [
        tf.reshape(tf.cast(each, tf.float64), [tf.shape(counts)[0], -1])
        for each in gradients
    ]
    norms = tf.sqrt(
        tf.add_n([tf.reduce_sum(tf.square(each), axis=1) for each in flat])
    )
    counts = counts & tf.math.is_finite(norms)
    factors = tf.minimum(
        tf.constant(1.0, tf.float64),
        tf.math.divide_no_nan(tf.constant(clip * _BELOW, tf.float64), norms),
    )
    # Neither may be NaN where it does not count, for 0 times NaN is no 0.
    factors = tf.where(counts, factors, 0.0)
    sums = []
    for each, whole in zip(flat, gradients):
        each = tf.where(counts[:, tf.newaxis], each, 0.0)
        total = tf.linalg.matvec(each, factors, transpose_a=True)
        sums.append(
            tf.cast(tf.reshape(total, tf.shape(whole)[1:]), whole.dtype)
        )
    return sums
