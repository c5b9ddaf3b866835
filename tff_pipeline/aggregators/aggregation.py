"""Descriptions of how the messages of a cohort are combined into one.

Each entry of `registry.AGGREGATORS`, and each step of
`registry.AGGREGATOR_STEPS`, is a function from an `AggregationContext` to an
`Aggregation`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import tensorflow_federated as tff

from tff_pipeline.aggregators.rows import ANYBODY, Condition, RowRule
from tff_pipeline.config import AggregationConfig
from tff_pipeline.config.clients import SAMPLING_OPTIONS

Factory = Union[
    tff.aggregators.WeightedAggregationFactory,
    tff.aggregators.UnweightedAggregationFactory,
]


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """A way to combine the messages of a cohort, and what belongs to it.

    Attributes:
      factory: A `tff.aggregators` factory. One without weights counts all
        clients the same.
      plan: The privacy plan whose noise the factory adds, or `None`. An
        aggregation is private because it has a plan, and for no other reason.
      samplings: The names in `registry.SAMPLERS` that the aggregation allows.
      columns: The columns of metrics.csv that the aggregation adds.
      measure: A function from the measurements of the aggregation process to
        the values of `columns`, by name.
      complete: A function from (the model's trainable weights before the round,
        the measurements of the aggregation process) to the measurements that
        `measure` takes, for columns that need both; `None` if none does.
      secure: True if what leaves a client is taken by secure sums alone, so
        that a protocol can hide it from the server; then its metrics and counts
        are taken so too.
      describe: Words for what the aggregation does on a client, such as
        "rounded to 20 bits"; empty if it does nothing there.
      noise_on_clients: True if all noise of the plan is added on clients, so
        that a round without clients has no noise to release.
      hides_clients: True if the server learns sums of messages alone. Then
        nothing else of what clients train is written either: no metrics of
        training, no counts of examples.
      rule: The same aggregation as a rule on rows, before which steps on rows
        can stand; `None` if it has no such form.
      tagged: True if the factory takes tags in the place of weights, which
        `client_work.tagged` sends.
      needs: The fewest clients that must come; a round of fewer is refused.
      sent_bytes: A function from the types of a client's value and its weight
        to the usual number of bytes in which they leave the client; `None` if
        they leave it as they are.
    """

    factory: Factory
    plan: Optional[Any] = None
    samplings: Sequence[str] = tuple(SAMPLING_OPTIONS)
    columns: Sequence[str] = ()
    measure: Callable[[Any], Mapping[str, float]] = lambda _: {}
    complete: Optional[Callable[[Sequence[Any], Any], Any]] = None
    secure: bool = False
    describe: str = ""
    noise_on_clients: bool = False
    hides_clients: bool = False
    rule: Optional[RowRule] = None
    tagged: bool = False
    needs: Condition = ANYBODY
    sent_bytes: Optional[Callable[[tff.Type, tff.Type], int]] = None

    @property
    def sums_only(self) -> bool:
        """True if the server learns nothing but the sum of messages.

        What clients send must then add up as it is.
        """
        return self.secure or self.hides_clients

    def bytes_of(self, value_type: tff.Type, weight_type: tff.Type) -> int:
        """Returns the usual number of bytes in which a message leaves a client.

        Args:
          value_type: The type of a client's value.
          weight_type: The type of its weight, or of the tag in its place.
        """
        if self.sent_bytes is not None:
            return self.sent_bytes(value_type, weight_type)
        return sum(
            math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
            for kind in (value_type, weight_type)
            for leaf in tff.structure.flatten(kind)
        )

    @property
    def runs_without_clients(self) -> bool:
        """True if a round without clients adds noise that the plan counts."""
        return self.plan is not None and not self.noise_on_clients


@dataclasses.dataclass(frozen=True)
class AggregationContext:
    """The arguments that an aggregation is built from.

    Attributes:
      config: The options of aggregators.
      cohort_size: The number of clients in a round; the expected number where
        it varies.
      plan: The privacy plan, if the chosen aggregator is private.
      inner: The aggregation that follows a step, such as the mean in
        clip+mean; `None` for the last of a chain.
      seed: The experiment's seed, for what the server draws.
    """

    config: AggregationConfig
    cohort_size: int
    plan: Optional[Any] = None
    inner: Optional[Aggregation] = None
    seed: int = 0

    @property
    def byzantine(self) -> int:
        """The number f of hostile clients that a rule is to withstand."""
        assert self.config.byzantine_clients is not None  # `config` sees to it.
        return self.config.byzantine_clients
