"""Applies a rule to the messages of all clients of a cohort, as rows.

Order statistics such as a median need every client's value at once, where a
mean needs only a running sum. TFF has no intrinsic that collects values. Here
one `federated_aggregate` does: its accumulators are stacks of rows, and its
`merge` puts one stack below another. So several machines can each collect the
rows of their own clients, and the stacks are then merged.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

# From a structure of tensors [clients, ...] to one of tensors [...].
Rule = Callable[[Any], Any]


class CollectFactory(tff.aggregators.UnweightedAggregationFactory):
    """Applies a rule to the rows of a cohort's messages.

    The rows are in the order of the cohort. The server holds all messages of
    a cohort at once: clients x message size of memory.
    """

    def __init__(self, rule: Rule):
        """Makes the factory.

        Args:
          rule: A function from the clients' messages, a structure of tensors
            [clients, ...], to their aggregate, the same structure of tensors
            [...]. It is built into a TensorFlow graph. For a cohort without
            clients its argument has tensors [0, ...].
        """
        self._rule = rule

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the aggregation process.

        Args:
          value_type: The type of a client's message.

        Returns:
          A process without state and measurements, whose result is the rule's.
        """
        specs = tff.types.structure_from_tensor_type_tree(
            lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
        )
        return _process(self._rule, value_type, specs)


def _process(
    rule: Rule, value_type: tff.Type, specs: Any
) -> tff.templates.AggregationProcess:
    flat = [
        tff.TensorType(np.dtype(spec.dtype.as_numpy_dtype), [None, *spec.shape])
        for spec in tf.nest.flatten(specs)
    ]
    rows_type = tff.to_type(flat)

    @tff.tensorflow.computation
    def no_rows() -> Any:
        # A placeholder with a default has the unknown size that rows need.
        return [
            tf.compat.v1.placeholder_with_default(
                tf.zeros([0, *spec.shape], spec.dtype), [None, *spec.shape]
            )
            for spec in tf.nest.flatten(specs)
        ]

    @tff.tensorflow.computation(rows_type, value_type)
    def accumulate(rows: Any, value: Any) -> Any:
        return [
            tf.concat([stack, leaf[tf.newaxis]], axis=0)
            for stack, leaf in zip(rows, tf.nest.flatten(value))
        ]

    @tff.tensorflow.computation(rows_type, rows_type)
    def merge(above: Any, below: Any) -> Any:
        return [tf.concat(pair, axis=0) for pair in zip(above, below)]

    @tff.tensorflow.computation(rows_type)
    def report(rows: Any) -> Any:
        return rule(tf.nest.pack_sequence_as(specs, list(rows)))

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(value_type, tff.CLIENTS),
    )
    def next_fn(state: Any, value: Any) -> Any:
        return tff.templates.MeasuredProcessOutput(
            state,
            tff.federated_aggregate(
                value, no_rows(), accumulate, merge, report
            ),
            tff.federated_value((), tff.SERVER),
        )

    return tff.templates.AggregationProcess(initialize, next_fn)
