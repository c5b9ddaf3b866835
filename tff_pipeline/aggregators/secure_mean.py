"""The weighted mean by secure sums: the server learns sums of integers alone.

A client scales its update by its weight over the largest weight, cuts each
number to a range, and rounds it to a grid of whole numbers from 0 on. These,
its weight, a 1 for itself and the counts of what was cut are one secure sum
(`tff.federated_secure_sum`), from which the server computes the mean. With a
protocol such as --secure_aggregation=bonawitz it learns nothing else; without
one the result has the same bits.

The grid has an even number of steps, so that 0 stays 0. A mean differs from
that of updates that were not rounded by at most half a step times the largest
weight over the mean weight.
"""

import collections
import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.compressed.compressor import dimension_of

_COLUMNS = ("clipped_values", "clipped_weights")
# Bits of a weight before and after the point.
_WEIGHT_BITS = 31


def secure_mean(context: AggregationContext) -> Aggregation:
    """Averages messages by their weights, by secure sums.

    Args:
      context: Its config has the range, the bits and the largest weight.

    Returns:
      An aggregation with the columns `clipped_values`, how many numbers of all
      clients' updates were cut to `--secure_mean_range` (or were not finite and
      became 0), and `clipped_weights`, how many clients' weights were cut to
      `--secure_mean_max_weight`.
    """
    config = context.config
    bound, bits = config.secure_mean_range, config.secure_mean_bits
    assert bound is not None and bits is not None  # `config` settles both.
    largest = config.secure_mean_max_weight or 1.0

    def measure(measurements: Any) -> Mapping[str, float]:
        return {name: int(measurements[name]) for name in _COLUMNS}

    factory = SecureMeanFactory(bound, bits, largest)

    def sent_bytes(value_type: tff.Type, weight_type: tff.Type) -> int:
        del weight_type  # It is one of the numbers of the sum.
        dimension = dimension_of(tff.structure.flatten(value_type))
        counts = {"numbers": dimension}
        # Moduli are above clients times range, and packed into whole bytes.
        return sum(
            -(
                -counts.get(name, 1)
                * (context.cohort_size * most).bit_length()
                // 8
            )
            for name, most in factory.largest(dimension).items()
        )

    return Aggregation(
        factory,
        sent_bytes=sent_bytes,
        columns=_COLUMNS,
        measure=measure,
        secure=True,
        describe=(
            f"numbers cut to {bound:g}, weighed by at most {largest:g}, and "
            f"rounded to {bits} bits"
        ),
    )


class SecureMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Weighted mean of updates on a grid, by one secure sum.

    It is NaN if there are no clients or if all weights are 0.
    """

    def __init__(self, bound: float, bits: int, largest_weight: float):
        """Makes the factory.

        Args:
          bound: The largest absolute value of a number in an update.
          bits: A number is rounded to at most 2^bits - 1 values, 2 bits or
            more.
          largest_weight: The largest weight of a client, at most 1e9.
        """
        self._bound = bound
        self._steps = 2**bits - 2
        self._largest_weight = largest_weight
        # Whole weights are exact, as long as they have no more bits.
        whole = math.ceil(math.log2(max(1.0, largest_weight)))
        self._per_one = 2.0 ** max(0, _WEIGHT_BITS - whole)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of a client's value, a structure of floats.
          weight_type: The type of its weight, a number, 0 or above.

        Returns:
          A process without state, whose result is the weighted mean, and whose
          measurements are the counts `clipped_values` and `clipped_weights`.
        """
        specs = tff.types.structure_from_tensor_type_tree(
            lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
        )
        largest = self.largest(dimension_of(tf.nest.flatten(specs)))

        @tff.tensorflow.computation(value_type, weight_type)
        def encode(value: Any, weight: tf.Tensor) -> Any:
            return self._encode(value, weight)

        @tff.tensorflow.computation(encode.type_signature.result)
        def decode(total: Any) -> Any:
            mean = self._decode(total, tf.nest.flatten(specs))
            return tf.nest.pack_sequence_as(
                specs, mean
            ), collections.OrderedDict((name, total[name]) for name in _COLUMNS)

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            total = tff.federated_secure_sum(
                tff.federated_map(encode, (value, weight)), largest
            )
            mean, measurements = tff.federated_map(decode, total)
            return tff.templates.MeasuredProcessOutput(
                state, mean, measurements
            )

        return tff.templates.AggregationProcess(initialize, next_fn)

    def largest(self, dimension: int) -> collections.OrderedDict[str, int]:
        """Returns the largest number that a client sends in each part of a sum.

        Args:
          dimension: The number of numbers in an update; all other parts are one
            number each.
        """
        return collections.OrderedDict(
            numbers=self._steps,
            weight=math.ceil(self._largest_weight * self._per_one),
            clients=1,
            clipped_values=max(1, dimension),
            clipped_weights=1,
        )

    def _encode(self, value: Any, weight: tf.Tensor) -> Any:
        """Returns what a client sends: int64 scalars and [dimension]."""
        vector = tf.concat(
            [
                tf.reshape(tf.cast(leaf, tf.float64), [-1])
                for leaf in tf.nest.flatten(value)
            ],
            axis=0,
        )
        finite = tf.math.is_finite(vector)
        inside = finite & (tf.abs(vector) <= self._bound)
        vector = tf.where(tf.math.is_nan(vector), tf.zeros_like(vector), vector)
        vector = tf.clip_by_value(vector, -self._bound, self._bound)
        weight = tf.cast(weight, tf.float64)
        counted = tf.clip_by_value(weight, 0.0, self._largest_weight)
        scaled = vector * (counted / self._largest_weight)
        half = self._steps // 2
        return collections.OrderedDict(
            numbers=tf.cast(tf.round(scaled / self._bound * half), tf.int64)
            + half,
            weight=tf.cast(tf.round(counted * self._per_one), tf.int64),
            clients=tf.constant(1, tf.int64),
            clipped_values=_count(~inside),
            clipped_weights=_count(weight > self._largest_weight),
        )

    def _decode(self, total: Any, specs: Any) -> list[tf.Tensor]:
        """Returns the mean's tensors from the sums."""
        half = self._steps // 2
        steps = total["numbers"] - total["clients"] * half
        weight = tf.cast(total["weight"], tf.float64) / self._per_one
        mean = (
            tf.cast(steps, tf.float64)
            * (self._bound / half)
            * (self._largest_weight / weight)
        )
        parts = tf.split(mean, [spec.shape.num_elements() for spec in specs])
        return [
            tf.cast(tf.reshape(part, spec.shape), spec.dtype)
            for part, spec in zip(parts, specs)
        ]


def _count(condition: tf.Tensor) -> tf.Tensor:
    """The number of true values, an int64 scalar."""
    return tf.reduce_sum(tf.cast(condition, tf.int64))
