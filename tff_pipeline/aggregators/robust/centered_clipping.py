"""Centered clipping: updates are clipped around the last round's aggregate.

Karimireddy, He, Jaggi 2021, "Learning from history for Byzantine robust
optimization", algorithm 2, repeated: v <- v + mean_i (x_i - v) min(1, tau /
|x_i - v|). The centre v is state of the server: it begins at 0 and is the last
aggregate, so that a lie of one round does not add up over rounds unless it is
near the truth. An iteration costs n distances.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.robust.coordinates import more_than_twice
from tff_pipeline.aggregators.robust.distances import squared_norms
from tff_pipeline.aggregators.rows import Outcome, RowRule, Rows

_COLUMN = "far_clients"


def centered_clipping(context: AggregationContext) -> Aggregation:
    """Averages updates that are clipped around the last aggregate.

    Args:
      context: The arguments of the aggregator, with its options.

    Returns:
      An aggregation with the column `far_clients`: the number of clients whose
      update was farther than `--centered_clip_norm` from the centre in the
      last iteration.
    """
    config = context.config
    assert config.centered_clip_norm is not None  # `config` sees to both.
    assert config.centered_clip_iterations is not None
    return aggregation_of(
        centered_clipping_rule(
            context.byzantine,
            config.centered_clip_norm,
            config.centered_clip_iterations,
        )
    )


def centered_clipping_rule(
    byzantine: int, norm: float, iterations: int = 3
) -> RowRule:
    """Makes the rule of `centered_clipping`; its state is the centre.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rule = centered_clipping_rule(0, norm=1.0, iterations=1)
    >>> rule.apply(rows_of([[0.5], [10.0]]), [tf.zeros(1)]).value[0].numpy()
    array([0.75], dtype=float32)

    Args:
      byzantine: The number f of hostile clients; n > 2f must come.
      norm: The distance tau at which updates are clipped, above 0.
      iterations: The number of iterations, 1 or above.
    """

    def first(specs: Sequence[tf.TensorSpec]) -> Any:
        return [np.zeros(s.shape, s.dtype.as_numpy_dtype) for s in specs]

    def apply(rows: Rows, state: Any) -> Outcome:
        def step(number: tf.Tensor, centre: list[tf.Tensor], _: Any) -> Any:
            distances = tf.sqrt(squared_norms(rows.values, centre))
            shares = norm / tf.maximum(distances, norm)
            shares /= tf.cast(rows.count, tf.float64)
            stays = tf.cast(1.0 - tf.reduce_sum(shares), tf.float32)
            shares = tf.cast(shares, tf.float32)
            moved = [
                middle * stays + tf.linalg.matvec(each, shares, True)
                for middle, each in zip(centre, rows.values)
            ]
            return number + 1, moved, tf.math.count_nonzero(distances > norm)

        _, centre, far = tf.while_loop(
            lambda number, *_: number < iterations,
            step,
            (tf.constant(0), list(state), tf.constant(0, tf.int64)),
        )
        return Outcome(centre, centre, {_COLUMN: far})

    return RowRule(
        apply,
        more_than_twice("centered_clipping", byzantine),
        first,
        (_COLUMN,),
    )
