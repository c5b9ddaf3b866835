"""Krum: the update, or the mean of some, whose neighbours are nearest.

Blanchard et al. 2017, "Machine learning with adversaries: Byzantine tolerant
gradient descent", section 4. The score of a client is the sum of the squared
distances to its n - f - 2 nearest others; the lowest wins. Some
implementations take n - f - 1, or powers of distances.

The error of Krum is at most 6 (1 + f / (n - 2f)) times the variance of the
honest updates (Allouah et al. 2023, table 1). It costs n^2 / 2 distances.
"""

from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.robust.distances import squared_distances
from tff_pipeline.aggregators.robust.order import first_by_value, seats
from tff_pipeline.aggregators.rows import Condition, Outcome, RowRule, Rows


def krum(context: AggregationContext) -> Aggregation:
    """Takes the update of the client with the lowest score.

    Args:
      context: The arguments of the aggregator.
    """
    return aggregation_of(krum_rule(context.byzantine))


def krum_rule(byzantine: int) -> RowRule:
    """Makes the rule of `krum`; of equal scores the least update wins.

    Args:
      byzantine: The number f of hostile clients; n >= 2f + 3 must come.
    """

    def apply(rows: Rows, state: Any) -> Outcome:
        scores = scores_of(squared_distances(rows), byzantine)
        best = first_by_value(rows, scores <= tf.reduce_min(scores))
        return Outcome([each[best] for each in rows.values], state, {})

    return RowRule(apply, _condition("krum", byzantine))


def multi_krum(context: AggregationContext) -> Aggregation:
    """Averages the updates with the lowest scores.

    Args:
      context: The arguments of the aggregator; `--multi_krum_clients` are
        averaged.
    """
    chosen = context.config.multi_krum_clients
    return aggregation_of(multi_krum_rule(context.byzantine, chosen))


def multi_krum_rule(byzantine: int, chosen: Optional[int] = None) -> RowRule:
    """Makes the rule of `multi_krum`.

    Clients that tie for the last places share them, whoever came first.

    Args:
      byzantine: The number f of hostile clients; n >= 2f + 3 must come.
      chosen: The number m of updates that are averaged, all but f of those
        that came by default; n >= m + f must come, for a mean of more is one
        with hostile clients.
    """

    def apply(rows: Rows, state: Any) -> Outcome:
        scores = scores_of(squared_distances(rows), byzantine)
        count = rows.count - byzantine if chosen is None else chosen
        shares = seats(scores, count) / tf.cast(count, tf.float32)
        value = [tf.linalg.matvec(each, shares, True) for each in rows.values]
        return Outcome(value, state, {})

    needs = _condition("multi_krum", byzantine)
    if chosen is not None and chosen + byzantine > needs.clients:
        words = "multi_krum needs n >= m + f clients"
        needs = Condition(chosen + byzantine, words)
    return RowRule(apply, needs)


def scores_of(distances: tf.Tensor, byzantine: int) -> tf.Tensor:
    """Computes Krum's scores.

    Args:
      distances: Squared distances, float64 [clients, clients].
      byzantine: The number f of hostile clients.

    Returns:
      The sums of the n - f - 2 least distances to others, of one at least,
      float64 [clients].
    """
    count = tf.shape(distances)[0]
    itself = tf.fill([count], tf.constant(np.inf, tf.float64))
    ordered = tf.sort(tf.linalg.set_diag(distances, itself))
    nearest = tf.maximum(count - byzantine - 2, 1)
    return tf.reduce_sum(ordered[:, :nearest], axis=1)


def _condition(name: str, byzantine: int) -> Condition:
    return Condition(2 * byzantine + 3, f"{name} needs n >= 2f + 3 clients")
