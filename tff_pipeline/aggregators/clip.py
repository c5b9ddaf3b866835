"""Scales long messages down to a norm, as a step before an aggregator."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.robust.distances import squared_norms
from tff_pipeline.aggregators.rows import Rows, RowStep, Stepped

_COLUMN = "clipped_clients"


def clip(context: AggregationContext) -> Aggregation:
    """Clips the L2 norm of all that leaves a client to `--clip_norm`.

    This bounds what one client can do to the mean (norm bounding, Sun et al.
    2019); by itself it is neither private nor robust.

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
        rule=inner.rule and clip_rows(norm).before(inner.rule),
    )


def clip_rows(norm: float) -> RowStep:
    """Makes the same step on rows, for chains in which it follows one on rows.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> stepped = clip_rows(5.0).apply(rows_of([[6.0, 8.0], [0.0, 0.5]]), ())
    >>> stepped.rows.values[0].numpy().tolist()
    [[3.0, 4.0], [0.0, 0.5]]

    Args:
      norm: The largest L2 norm of a row.
    """

    def apply(rows: Rows, state: Any) -> Stepped:
        norms = tf.sqrt(squared_norms(rows.values))
        scales = tf.cast(norm / tf.maximum(norms, norm), tf.float32)
        values = [each * scales[:, tf.newaxis] for each in rows.values]
        clipped = tf.math.count_nonzero(norms > norm)
        return Stepped(rows._replace(values=values), state, {_COLUMN: clipped})

    return RowStep(apply, columns=(_COLUMN,))
