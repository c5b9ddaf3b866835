"""Steps on clients whose norm follows that of the updates, of TFF.

The norm is an estimate of a quantile of the clients' norms (Andrew et al. 2021,
without noise), state of the server; the settings are those of
`tff.learning.robust_aggregator`. They bound what few clients with long updates
can do, and nothing that hides among the honest ones.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
    Factory,
)

_CLIP = ("quantile_clip_norm", "quantile_clipped_clients")
_ZERO = ("zeroing_norm", "zeroed_clients")


def clip_quantile(context: AggregationContext) -> Aggregation:
    """Clips the L2 norm of messages to that of the quantile `--norm_quantile`.

    Args:
      context: The arguments of the step; `context.inner` aggregates the
        clipped messages.

    Returns:
      An aggregation with the columns `quantile_clip_norm`, the norm of the
      round, and `quantile_clipped_clients`, whose message was longer.
    """
    assert context.inner is not None and context.config.norm_quantile
    norm = tff.aggregators.PrivateQuantileEstimationProcess.no_noise(
        1.0, context.config.norm_quantile, learning_rate=0.2
    )
    factory = tff.aggregators.clipping_factory(norm, context.inner.factory)
    return _measured(context.inner, factory, "clipping", "clipped_count", _CLIP)


def zeroing(context: AggregationContext) -> Aggregation:
    """Replaces messages with a number far larger than usual by zeros.

    The largest number of a message may be twice the 0.98 quantile of all, plus
    1. A message of zeros still counts.

    Args:
      context: The arguments of the step; `context.inner` aggregates the
        others.

    Returns:
      An aggregation with the columns `zeroing_norm`, the largest number of the
      round, and `zeroed_clients`.
    """
    assert context.inner is not None
    norm = tff.aggregators.PrivateQuantileEstimationProcess.no_noise(
        10.0,
        0.98,
        learning_rate=math.log(10.0),
        multiplier=2.0,
        increment=1.0,
    )
    factory = tff.aggregators.zeroing_factory(norm, context.inner.factory)
    return _measured(context.inner, factory, "zeroing", "zeroed_count", _ZERO)


def _measured(
    inner: Aggregation,
    factory: Factory,
    step: str,
    count: str,
    columns: Sequence[str],
) -> Aggregation:
    """Describes a step whose measurements TFF names `step` and `count`."""
    norm_column, count_column = columns

    def measure(measurements: Any) -> Mapping[str, float]:
        return {
            norm_column: float(measurements[f"{step}_norm"]),
            count_column: int(measurements[count]),
            **inner.measure(measurements[step]),
        }

    # On clients alone, so that no step on rows can stand before it.
    return dataclasses.replace(
        inner,
        factory=factory,
        columns=(*columns, *inner.columns),
        measure=measure,
        rule=None,
    )
