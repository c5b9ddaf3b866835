"""Collects the messages of a cohort as rows, and applies a rule to them.

TFF has no intrinsic that collects values. Here one `federated_aggregate` does:
its accumulators are stacks of rows, and its `merge` puts one stack below
another. So several machines can each collect the rows of their own clients, and
the stacks are then merged. The server holds all messages of a cohort at once:
clients x message size of memory.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.rows import Outcome, RowRule, Rows

# What `client_work.tagged` sends in place of a weight: what the aggregator is
# told of a client, beside its message.
TAG = collections.OrderedDict(
    weight=np.float32, key=np.int64, mark=np.int32, round=np.int32
)
TAG_TYPE = tff.to_type(TAG)


def aggregation_of(rule: RowRule) -> Aggregation:
    """Describes an aggregation that collects rows and applies a rule.

    Args:
      rule: The rule.
    """

    def measure(measurements: Any) -> dict[str, float]:
        return {name: float(measurements[name]) for name in rule.columns}

    return Aggregation(
        RowsFactory(rule),
        columns=rule.columns,
        measure=measure,
        rule=rule,
        tagged=True,
        needs=rule.needs,
    )


class RowsFactory(tff.aggregators.WeightedAggregationFactory):
    """Applies a rule to the rows of a cohort's messages, in cohort order.

    In the place of a weight there is a tag, of type `TAG_TYPE`; a client whose
    tag has weight 0 did not come. Where fewer came than the rule needs, the
    result is NaN, which refuses the round, and the rule's state stays.
    """

    def __init__(self, rule: RowRule):
        """Makes the factory.

        Args:
          rule: The rule.
        """
        self._rule = rule

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the aggregation process.

        Args:
          value_type: The type of a client's message, a structure of floats.
          weight_type: The type of a tag.

        Returns:
          A process whose state is the rule's, whose result is the rule's, and
          whose measurements are the rule's columns by name.

        Raises:
          TypeError: If the types are others.
        """
        if not weight_type.is_equivalent_to(TAG_TYPE):
            raise TypeError(f"A client's tag is {TAG_TYPE}, not {weight_type}.")
        specs = _specs(value_type)
        client_type = tff.to_type((value_type, weight_type))
        no_rows, accumulate, merge = _stacks(specs, client_type)
        rule, flat = (
            self._rule,
            [_flat(each) for each in tf.nest.flatten(specs)],
        )
        state_type = tff.types.tensorflow_to_type(
            tf.nest.map_structure(
                lambda array: tf.TensorSpec(np.shape(array), array.dtype),
                rule.initial_state(flat),
            )
        )

        @tff.tensorflow.computation
        def first_state() -> Any:
            return rule.initial_state(flat)

        @tff.tensorflow.computation(state_type, no_rows.type_signature.result)
        def apply(state: Any, stacks: Any) -> Any:
            *values, weights, keys, marks, rounds = stacks
            rows = Rows(
                [
                    tf.reshape(value, [-1, each.shape[0]])
                    for value, each in zip(values, flat)
                ],
                *(weights, keys, marks, tf.reduce_max(rounds)),
            )
            outcome = applied(rule, rows, state)
            value = [
                tf.reshape(vector, each.shape)
                for vector, each in zip(outcome.value, tf.nest.flatten(specs))
            ]
            return (
                tf.nest.pack_sequence_as(specs, value),
                outcome.state,
                collections.OrderedDict(
                    (name, tf.cast(outcome.measured[name], tf.float32))
                    for name in rule.columns
                ),
            )

        @tff.tensorflow.computation(no_rows.type_signature.result)
        def collected(stacks: Any) -> Any:
            return stacks

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_eval(first_state, tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            stacks = tff.federated_aggregate(
                tff.federated_zip((value, weight)),
                no_rows(),
                accumulate,
                merge,
                collected,
            )
            result, state, measured = tff.federated_map(apply, (state, stacks))
            return tff.templates.MeasuredProcessOutput(state, result, measured)

        return tff.templates.AggregationProcess(initialize, next_fn)


def applied(rule: RowRule, rows: Rows, state: Any) -> Outcome:
    """Applies a rule to the rows of the clients that came.

    Args:
      rule: The rule.
      rows: The rows of all clients; those with weight 0 did not come.
      state: The rule's state.

    Returns:
      The outcome; NaN, the state as it was and zeros measured where fewer
      clients came than the rule needs.
    """
    came = rows.weights > 0

    def enough() -> Any:
        values, weights, keys, marks = tf.cond(
            tf.reduce_all(came),
            lambda: tuple(rows[:-1]),
            lambda: tf.nest.map_structure(
                lambda each: tf.boolean_mask(each, came), tuple(rows[:-1])
            ),
        )
        those = Rows(values, weights, keys, marks, rows.round)
        outcome = rule.apply(those, state)
        return (
            list(outcome.value),
            outcome.state,
            [
                tf.cast(outcome.measured[name], tf.float32)
                for name in rule.columns
            ],
        )

    def too_few() -> Any:
        nan = [
            tf.fill(tf.shape(each)[1:], tf.constant(np.nan, each.dtype))
            for each in rows.values
        ]
        same = tf.nest.map_structure(tf.identity, state)
        return nan, same, [tf.constant(0.0) for _ in rule.columns]

    count = tf.reduce_sum(tf.cast(came, tf.int32))
    value, state, measured = tf.cond(
        count >= rule.needs.clients, enough, too_few
    )
    return Outcome(value, state, dict(zip(rule.columns, measured)))


def _specs(value_type: tff.Type) -> Any:
    """Returns the specs of a message's tensors, in its structure."""
    specs = tff.types.structure_from_tensor_type_tree(
        lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
    )
    for spec in tf.nest.flatten(specs):
        if not spec.dtype.is_floating:
            raise TypeError(f"Rows are of floats, not of {spec.dtype.name}.")
    return specs


def _flat(spec: tf.TensorSpec) -> tf.TensorSpec:
    return tf.TensorSpec([spec.shape.num_elements()], spec.dtype)


def _stacks(
    specs: Any, client_type: tff.Type
) -> tuple[tff.Computation, Callable[..., Any], Callable[..., Any]]:
    """Builds the zero, accumulate and merge of stacks of messages and tags."""
    leaves: Sequence[tf.TensorSpec] = [
        *tf.nest.flatten(specs),
        *(tf.TensorSpec([], dtype) for dtype in TAG.values()),
    ]

    @tff.tensorflow.computation
    def no_rows() -> Any:
        # A placeholder with a default has the unknown size that rows need.
        return [
            tf.compat.v1.placeholder_with_default(
                tf.zeros([0, *leaf.shape], leaf.dtype), [None, *leaf.shape]
            )
            for leaf in leaves
        ]

    rows_type = no_rows.type_signature.result

    @tff.tensorflow.computation(rows_type, client_type)
    def accumulate(rows: Any, client: Any) -> Any:
        value, tag = client
        parts = [
            *tf.nest.flatten(value),
            *(tag[name] for name in TAG),
        ]
        return [
            tf.concat([stack, part[tf.newaxis]], axis=0)
            for stack, part in zip(rows, parts)
        ]

    @tff.tensorflow.computation(rows_type, rows_type)
    def merge(above: Any, below: Any) -> Any:
        return [tf.concat(pair, axis=0) for pair in zip(above, below)]

    return no_rows, accumulate, merge
