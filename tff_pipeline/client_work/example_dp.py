"""DP-SGD on clients: gradients of examples, clipped one by one, with noise.

Abadi et al. 2016, algorithm 1. Every example of the client joins a step's batch
independently, with probability batch_size / examples, so a batch may be empty.
The gradients of the batch's examples are clipped and summed up, noise is added,
and the sum is divided by the expected number of examples, as Opacus does.
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

# A long gradient is scaled to slightly less than the clip, since rounding its
# numbers to float32 could lift its norm above the clip.
_BELOW = 1.0 - 2.0**-20


class ExampleDp(ClientHook):
    """Replaces the gradient of every step by the gradient of DP-SGD.

    It reports no metrics, since exact metrics of training are not private.

    Attributes:
      block_spec: The noise multiplier, which depends on the number of the
        client's examples.
    """

    name = "example_dp"

    def __init__(
        self,
        loss_fn: Callable[[Any, Any], tf.Tensor],
        clip: float,
        batch_size: int,
        key: Array,
    ):
        """Makes the hook.

        Args:
          loss_fn: A function from labels [1, ...] and outputs [1, ...] to the
            loss, a scalar. Terms that the model adds to its loss, such as
            regularization, are left out.
          clip: The largest L2 norm of an example's gradient.
          batch_size: The expected number of examples in a step's batch.
          key: The key from which all clients' batches and noise are drawn,
            int64 [2]. Nobody who sees an update may know it.
        """
        self.block_spec = {"noise_multiplier": tf.TensorSpec([], tf.float32)}
        self._loss_fn = loss_fn
        self._clip = clip
        self._batch_size = batch_size
        self._key = np.asarray(key, np.int64)

    def describe(self) -> str:
        """Describes the clip and the noise."""
        return (
            "learned from gradients of single examples, each clipped to "
            f"{self._clip:g}, with noise"
        )

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[list[tf.Tensor], Any]:
        """Takes the gradient of a step.

        Args:
          gradients_fn: Not called; its gradient would not be private.
          state: The hook's state, which is `()`.
          step: The model, the client's block and the step's number.

        Returns:
          (a tensor for each trainable variable, the state as it was).
        """
        del gradients_fn
        return self.gradient(step.model, step.block, step.number), state

    def gradient(
        self,
        model: tff.learning.models.VariableModel,
        block: Mapping[str, tf.Tensor],
        step: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Computes the noised gradient of a step.

        Args:
          model: The model, with the weights of the step.
          block: The client's data, as `client_block` makes them, with
            `noise_multiplier`.
          step: The number of the step in the round from 0, an int32 scalar.

        Returns:
          A tensor for each trainable variable, of its shape and dtype.
        """
        # The block's key differs by client and by round.
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
        """Sums up the clipped gradients of the examples at `chosen`."""
        variables = model.trainable_variables
        # A map over no examples has no shapes to infer; so an empty batch
        # becomes one example that does not count.
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
            # Dense: the norm of a sparse gradient is not that of the sum of
            # its repeated rows.
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
    """Takes the gradient of each example, tensors [n, ...].

    All are taken at once, unless the gradient has a loop, as in recurrent
    layers, which `tf.vectorized_map` cannot vectorize; then one by one.
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
    """Returns whether the loss of some single example has a gradient.

    It has none if it is 0, as in survival models, which compare examples.

    Args:
      model: The model.
      loss_fn: A function from labels and outputs to the loss, a scalar.
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
    """Draws positions in range(examples), each with an equal probability.

    Returns:
      int64 [any], `expected` of them on average.
    """
    draws = tf.random.stateless_uniform([examples], seed, dtype=tf.float64)
    chance = tf.cast(expected, tf.float64) / tf.cast(examples, tf.float64)
    return tf.reshape(tf.where(draws < chance), [-1])


def clipped_sum(
    gradients: Sequence[tf.Tensor], counts: tf.Tensor, clip: float
) -> list[tf.Tensor]:
    """Sums up gradients of examples, each scaled to an L2 norm of <= `clip`.

    Norms and sums are taken in float64, in which the square of no float32
    number overflows. A gradient that is not finite adds nothing, which keeps
    the bound.

    Args:
      gradients: Tensors [n, ...], which together hold a vector for each of n
        examples.
      counts: True for each example that is summed up, bool [n].
      clip: The largest L2 norm of an example's gradient, above 0.

    Returns:
      Tensors [...], of the dtypes of `gradients`.
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
    # Both are set to 0 where an example does not count: 0 times NaN is NaN.
    factors = tf.where(counts, factors, 0.0)
    sums = []
    for each, whole in zip(flat, gradients):
        each = tf.where(counts[:, tf.newaxis], each, 0.0)
        total = tf.linalg.matvec(each, factors, transpose_a=True)
        sums.append(
            tf.cast(tf.reshape(total, tf.shape(whole)[1:]), whole.dtype)
        )
    return sums
