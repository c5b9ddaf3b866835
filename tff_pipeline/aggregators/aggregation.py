"""Describes how the messages of a cohort become one: an `Aggregation`.

Each entry of `registry.AGGREGATORS`, and each step of
`registry.AGGREGATOR_STEPS`, is a function from an `AggregationContext` to an
`Aggregation`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Union

import tensorflow_federated as tff

from tff_pipeline.config import AggregationConfig
from tff_pipeline.config.clients import SAMPLING_OPTIONS

Factory = Union[
    tff.aggregators.WeightedAggregationFactory,
    tff.aggregators.UnweightedAggregationFactory,
]


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """How the messages of a cohort become one, and what goes with it.

    Attributes:
      factory: A `tff.aggregators` factory. One without weights counts all
        clients the same.
      plan: The privacy plan whose noise the factory adds, or `None`. An
        aggregation is private because it has a plan, and for no other reason.
      samplings: The names in `registry.SAMPLERS` that it allows.
      columns: The columns of metrics.csv that it brings.
      measure: The measurements of the process that `factory` makes -> the
        values of `columns` by name.
    """

    factory: Factory
    plan: Optional[Any] = None
    samplings: Sequence[str] = tuple(SAMPLING_OPTIONS)
    columns: Sequence[str] = ()
    measure: Callable[[Any], Mapping[str, float]] = lambda _: {}

    @property
    def weighted(self) -> bool:
        """Whether clients may count by the weights that they send."""
        return isinstance(
            self.factory, tff.aggregators.WeightedAggregationFactory
        )


@dataclasses.dataclass(frozen=True)
class AggregationContext:
    """What an aggregation is built from.

    Attributes:
      config: The options of aggregators.
      cohort_size: Clients of a round; the expected number where it varies.
      plan: The privacy plan, where the chosen aggregator is private.
      inner: What follows a step, such as the mean in clip+mean.
    """

    config: AggregationConfig
    cohort_size: int
    plan: Optional[Any] = None
    inner: Optional[Aggregation] = None
