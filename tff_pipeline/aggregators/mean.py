"""The weighted mean of the messages of a cohort."""

from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.rows import Outcome, RowRule, Rows


def mean(_: AggregationContext) -> Aggregation:
    """Averages messages by the weights that clients send with them.

    Args:
      _: Not used; every entry of `registry.AGGREGATORS` takes a context.
    """
    return Aggregation(WeightedMeanFactory(), rule=RowRule(mean_of_rows))


def mean_of_rows(rows: Rows, state: Any) -> Outcome:
    """Averages rows by their weights, for the steps that need rows.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rows = rows_of([[1.0], [4.0]])._replace(weights=tf.constant([3.0, 1.0]))
    >>> mean_of_rows(rows, ()).value[0].numpy().tolist()
    [1.75]

    Args:
      rows: The rows.
      state: Not used.
    """
    shares = rows.weights / tf.reduce_sum(rows.weights)
    value = [tf.linalg.matvec(each, shares, True) for each in rows.values]
    return Outcome(value, state, {})


class WeightedMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Weighted mean as one intrinsic, which a runtime can compute in one go.

    `tff.aggregators.MeanFactory` multiplies on the clients and sums twice. The
    result here is equal up to rounding. As there, it is NaN if there are no
    clients or if all weights are 0.
    """

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of a client's value.
          weight_type: The type of its weight, a number.

        Returns:
          A process without state whose result is the weighted mean.
        """

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            return tff.templates.MeasuredProcessOutput(
                state,
                tff.federated_mean(value, weight),
                tff.federated_value((), tff.SERVER),
            )

        return tff.templates.AggregationProcess(initialize, next_fn)
