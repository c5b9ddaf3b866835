"""Scales long messages down to a norm, as a step before an aggregator."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)

_COLUMN = "clipped_clients"


def clip(context: AggregationContext) -> Aggregation:
    """Clips the L2 norm of all that leaves a client to `--clip_norm`.

    This bounds what one client can do to the mean; by itself it is neither
    private nor robust.

    Args:
      context: The arguments of the step; `context.inner` aggregates the
        clipped messages.

    Returns:
      An aggregation with the column `clipped_clients`: the number of clients
      in a round whose message was longer than `--clip_norm`.
    """
    inner, norm = context.inner, context.config.clip_norm
    assert inner is not None and norm is not None  # `config` sees to both.

    def measure(measurements: Any) -> Mapping[str, float]:
        return {
            _COLUMN: int(measurements["clipped_count"]),
            **inner.measure(measurements["clipping"]),
        }

    return dataclasses.replace(
        inner,
        factory=tff.aggregators.clipping_factory(
            norm,
            inner.factory,
            # Else the server would see whose updates were long.
            clipped_count_sum_factory=(
                tff.aggregators.SecureSumFactory(1, 0) if inner.secure else None
            ),
        ),
        columns=(_COLUMN, *inner.columns),
        measure=measure,
    )
