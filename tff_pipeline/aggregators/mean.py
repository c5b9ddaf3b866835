"""The weighted mean of the messages of a cohort."""

from typing import Any

import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)


def mean(_: AggregationContext) -> Aggregation:
    """Averages messages by the weights that clients send with them."""
    return Aggregation(WeightedMeanFactory())


class WeightedMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """The mean as one intrinsic, which a runtime can compute in one go.

    `tff.aggregators.MeanFactory` multiplies on the clients and sums twice. The
    result is the same to rounding; no clients, or only weights of 0, give NaN,
    as there.
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
