"""Krum: the update, or the mean of some, whose neighbours are nearest.

Blanchard et al. 2017, "Machine learning with adversaries: Byzantine tolerant
gradient descent", section 4. The score of a client is the sum of the squared
distances to its n - f - 2 nearest others; the lowest wins. Some
implementations take n - f - 1, or powers of distances.

The error of Krum is at most 6 (1 + f / (n - 2f)) times the variance of the
honest updates (Allouah et al. 2023, table 1). It costs n^2 / 2 distances.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.robust.distances import squared_distances
from tff_pipeline.aggregators.robust.order import first_by_value
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
