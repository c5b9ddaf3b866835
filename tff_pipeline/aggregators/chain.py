"""Builds the aggregation that `--aggregator` names, such as clip+mean."""

import dataclasses

from tff_pipeline import registry
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)


def build(context: AggregationContext) -> Aggregation:
    """Builds a chain of steps, from the aggregator at its end to its start.

    A message passes the steps in the order of their names. `AggregationConfig`
    has checked that the names form a chain.

    Args:
      context: The arguments of every link; `context.config` names the chain.

    Returns:
      One aggregation for the whole chain.
    """
    config = context.config
    aggregation = registry.load(config.last, registry.AGGREGATORS)(context)
    for step in reversed(config.steps):
        wrap = registry.load(step, registry.AGGREGATOR_STEPS)
        aggregation = wrap(dataclasses.replace(context, inner=aggregation))
    return aggregation
