"""Wraps an aggregator to keep the sum of all that it has released."""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.private.dp_mean import specs_of


class RecordedFactory(tff.aggregators.UnweightedAggregationFactory):
    """Gives another factory's results and keeps their sum.

    The state holds the other's as `inner` and the sum as `released`.
    """

    def __init__(self, inner: tff.aggregators.UnweightedAggregationFactory):
        """Wraps a factory.

        Args:
          inner: The factory whose results are kept.
        """
        self._inner = inner

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of a client's value, a structure of float32
            tensors.
        """
        inner = self._inner.create(value_type)
        specs = specs_of(value_type)

        @tff.tensorflow.computation
        def nothing() -> Any:
            return [tf.zeros(spec.shape, spec.dtype) for spec in specs]

        @tff.tensorflow.computation(nothing.type_signature.result, value_type)
        def add(released: Any, result: Any) -> Any:
            return [a + b for a, b in zip(released, tf.nest.flatten(result))]

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_zip(
                collections.OrderedDict(
                    inner=inner.initialize(),
                    released=tff.federated_eval(nothing, tff.SERVER),
                )
            )

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any) -> Any:
            output = inner.next(state["inner"], value)
            released = tff.federated_map(
                add, (state["released"], output.result)
            )
            return tff.templates.MeasuredProcessOutput(
                tff.federated_zip(
                    collections.OrderedDict(
                        inner=output.state, released=released
                    )
                ),
                output.result,
                output.measurements,
            )

        return tff.templates.AggregationProcess(initialize, next_fn)
