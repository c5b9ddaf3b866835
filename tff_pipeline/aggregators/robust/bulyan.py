"""Bulyan: of clients that Krum picks, the values nearest their median.

El Mhamdi, Guerraoui, Rouault 2018, "The hidden vulnerability of distributed
learning in Byzantium", section 4. Krum picks a client, which is taken out, and
again, n - 2f times; some implementations take the best n - 2f at once. Then
each coordinate is the mean of the n - 4f picked values nearest their median. It
costs n^2 / 2 distances and two sorts.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.robust.coordinates import medians
from tff_pipeline.aggregators.robust.distances import squared_distances
from tff_pipeline.aggregators.robust.order import first_by_value
from tff_pipeline.aggregators.rows import Condition, Outcome, RowRule, Rows


def bulyan(context: AggregationContext) -> Aggregation:
    """Averages, coordinate by coordinate, what is usual among Krum's picks.

    Args:
      context: The arguments of the aggregator.
    """
    return aggregation_of(bulyan_rule(context.byzantine))


def bulyan_rule(byzantine: int) -> RowRule:
    """Makes the rule of `bulyan`.

    Args:
      byzantine: The number f of hostile clients; n >= 4f + 3 must come.
    """

    def apply(rows: Rows, state: Any) -> Outcome:
        picks = _picks(rows, byzantine)
        kept = tf.shape(picks)[0] - 2 * byzantine
        picked = [tf.gather(each, picks) for each in rows.values]

        def usual(values: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
            columns = tf.transpose(values)
            distances = tf.abs(columns - middle[:, tf.newaxis])
            # Of equally near ones that of the earlier pick.
            order = tf.argsort(distances, stable=True)[:, :kept]
            return tf.reduce_mean(tf.gather(columns, order, batch_dims=1), 1)

        value = list(map(usual, picked, medians(picked)))
        return Outcome(value, state, {})

    condition = Condition(4 * byzantine + 3, "bulyan needs n >= 4f + 3 clients")
    return RowRule(apply, condition)


def _picks(rows: Rows, byzantine: int) -> tf.Tensor:
    """Picks n - 2f clients by repeated Krum; returns their places in order."""
    count, far = rows.count, tf.constant(np.inf, tf.float64)
    distances = tf.linalg.set_diag(
        squared_distances(rows), tf.fill([count], far)
    )

    def pick(number: tf.Tensor, left: tf.Tensor, picks: tf.Tensor) -> Any:
        nearest = tf.maximum(count - number - byzantine - 2, 1)
        among = tf.where(left[tf.newaxis, :], distances, far)
        scores = tf.reduce_sum(tf.sort(among)[:, :nearest], axis=1)
        scores = tf.where(left, scores, far)
        best = first_by_value(
            rows, tf.logical_and(left, scores <= tf.reduce_min(scores))
        )
        left = tf.logical_and(left, tf.range(count) != best)
        return number + 1, left, tf.concat([picks, [best]], axis=0)

    _, _, picks = tf.while_loop(
        lambda number, *_: number < count - 2 * byzantine,
        pick,
        (
            tf.constant(0),
            tf.fill([count], True),
            tf.zeros([0], tf.int32),
        ),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None]),
            tf.TensorShape([None]),
        ),
    )
    return picks
