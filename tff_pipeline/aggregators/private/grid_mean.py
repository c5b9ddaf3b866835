"""Averages clipped updates with exact discrete noise on their sum.

As `dp_mean`, but what is added up are integers, exactly, and the noise is drawn
outside of TensorFlow from a cryptographic generator; `grid` has both. Neither
rounding of floating-point numbers nor the quality of TensorFlow's generator is
then part of what privacy rests on.
"""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators import outside_graph
from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.dp_mean import specs_of
from tff_pipeline.aggregators.private.grid import ExactNoise, Grid

# Below it a sum of squares in float64 is near enough to say that the same sum
# of int64 does not overflow.
_NO_OVERFLOW = 2.0**62


class GridDpMeanFactory(tff.aggregators.UnweightedAggregationFactory):
    """Averages with exact noise, on the in-process runtime alone."""

    def __init__(self, grid: Grid, expected_clients: float, key: bytes):
        """Makes the factory.

        Args:
          grid: Clip, grid and noise.
          expected_clients: The number by which the sum is divided.
          key: The secret of the noise; see `ExactNoise`.
        """
        self._grid = grid
        self._expected_clients = expected_clients
        self._key = key

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float32 tensors.

        Returns:
          A process whose state is the round's number and whose result is the
          mean.

        Raises:
          TypeError: If a tensor is not float32.
        """
        specs = specs_of(value_type)
        sizes = [spec.shape.num_elements() for spec in specs]
        grid, key = self._grid, self._key
        vector = tf.TensorSpec([sum(sizes)], tf.int64)
        unit = grid.step / self._expected_clients

        @tff.tensorflow.computation(value_type)
        def integers(update: Any) -> tf.Tensor:
            return to_integers(grid, update)

        @tff.tensorflow.computation(np.int64, integers.type_signature.result)
        def finish(number: tf.Tensor, total: tf.Tensor) -> Any:
            if grid.sigma:
                noise = ExactNoise(key, grid.sigma)
                total = outside_graph.call(noise.add, [number, total], vector)
            mean = tf.cast(tf.cast(total, tf.float64) * unit, tf.float32)
            parts = [
                tf.reshape(part, spec.shape)
                for part, spec in zip(tf.split(mean, sizes), specs)
            ]
            structure = tff.types.structure_from_tensor_type_tree(
                lambda leaf: None, value_type
            )
            return tf.nest.pack_sequence_as(structure, parts), number + 1

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value(np.int64(0), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any) -> Any:
            total = tff.federated_sum(tff.federated_map(integers, value))
            mean, state = tff.federated_map(finish, (state, total))
            return tff.templates.MeasuredProcessOutput(
                state, mean, tff.federated_value((), tff.SERVER)
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


def to_integers(grid: Grid, update: Any) -> tf.Tensor:
    """Clips an update and puts it on the grid, towards 0.

    That the L2 norm is at most `grid.sensitivity` steps is checked on the
    integers, exactly: what is longer, as could only come of a fault in the
    arithmetic before, becomes zeros.

    Args:
      grid: The grid.
      update: A structure of float32 tensors.

    Returns:
      int64 [n].
    """
    update = clip(update, tf.constant(grid.bound, tf.float32))[0]
    flat = [tf.reshape(leaf, [-1]) for leaf in tf.nest.flatten(update)]
    steps = tf.cast(tf.concat(flat, axis=0), tf.float64) / grid.step
    integers = tf.cast(steps, tf.int64)  # Towards 0, and no longer so.
    return tf.where(is_short(grid, integers), integers, tf.zeros_like(integers))


def is_short(grid: Grid, integers: tf.Tensor) -> tf.Tensor:
    """Says exactly whether integers are within the sensitivity.

    Args:
      grid: The grid.
      integers: int64 [n].

    Returns:
      A bool scalar.
    """
    square = tf.reduce_sum(tf.square(tf.cast(integers, tf.float64)))
    exact = tf.reduce_sum(integers * integers)
    return (square < _NO_OVERFLOW) & (exact <= grid.sensitivity**2)
