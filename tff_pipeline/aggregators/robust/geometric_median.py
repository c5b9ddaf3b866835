"""The geometric median, by smoothed Weiszfeld iterations.

Pillutla, Kakade, Harchaoui 2022, "Robust aggregation for federated learning",
algorithm 2 (RFA): z <- sum_i b_i x_i / sum_i b_i with b_i = w_i / max(nu,
|x_i - z|). From the medians of the coordinates, which hostile clients cannot
move far, few iterations do; from zeros the result depends on where zero is.

Its error is at most 4 (1 + f / (n - 2f))^2 times the variance of the honest
updates (Allouah et al. 2023, table 1). An iteration costs n distances.
"""

from typing import Any

import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.mean import mean_of_rows
from tff_pipeline.aggregators.robust.coordinates import (
    medians,
    more_than_twice,
)
from tff_pipeline.aggregators.robust.distances import squared_norms
from tff_pipeline.aggregators.rows import Outcome, RowRule, Rows


def geometric_median(context: AggregationContext) -> Aggregation:
    """Takes the point with the least sum of distances from the updates.

    Args:
      context: The arguments of the aggregator, with its options.
    """
    config = context.config
    assert config.weiszfeld_iterations is not None  # `config` settles all
    assert config.weiszfeld_nu is not None  # three.
    assert config.weiszfeld_start is not None
    return aggregation_of(
        geometric_median_rule(
            context.byzantine,
            config.weiszfeld_iterations,
            config.weiszfeld_nu,
            config.weiszfeld_start,
        )
    )


def geometric_median_rule(
    byzantine: int,
    iterations: int = 8,
    nu: float = 1e-6,
    start: str = "median",
) -> RowRule:
    """Makes the rule of `geometric_median`.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rows = rows_of([[0.0], [1.0], [100.0]])
    >>> geometric_median_rule(1).apply(rows, ()).value[0].numpy().round(3)
    array([1.], dtype=float32)

    Args:
      byzantine: The number f of hostile clients; n > 2f must come.
      iterations: The number of iterations, 1 or above.
      nu: The least distance that counts, in the unit of updates.
      start: Where to begin: "median", the medians of the coordinates; "mean";
        or "zero".
    """

    def first(rows: Rows) -> list[tf.Tensor]:
        if start == "median":
            return medians(rows.values)
        if start == "mean":
            return list(mean_of_rows(rows, ()).value)
        return [tf.zeros([each.shape[1]], each.dtype) for each in rows.values]

    def apply(rows: Rows, state: Any) -> Outcome:
        weights = tf.cast(rows.weights, tf.float64)

        def step(number: tf.Tensor, centre: list[tf.Tensor]) -> Any:
            distances = tf.sqrt(squared_norms(rows.values, centre))
            pulls = weights / tf.maximum(distances, nu)
            shares = tf.cast(pulls / tf.reduce_sum(pulls), tf.float32)
            moved = [
                tf.linalg.matvec(each, shares, True) for each in rows.values
            ]
            return number + 1, moved

        _, centre = tf.while_loop(
            lambda number, _: number < iterations,
            step,
            (tf.constant(0), first(rows)),
        )
        return Outcome(centre, state, {})

    return RowRule(apply, more_than_twice("geometric_median", byzantine))
