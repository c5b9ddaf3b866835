"""Rules of each coordinate by itself: the median and the trimmed mean.

Yin et al. 2018, "Byzantine-robust distributed learning: towards optimal
statistical rates", algorithm 1, options I and II. Their errors are at most
kappa times the variance of the honest updates, whatever f of n clients send
(Allouah et al. 2023, table 1), with r = f / (n - 2f):

    median          4 (1 + r)^2
    trimmed mean    6 r (1 + r)

Each sorts the clients' values of every coordinate: n log n comparisons of as
many numbers as the model has.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.rows import Condition, Outcome, RowRule, Rows


def median(context: AggregationContext) -> Aggregation:
    """Takes the median of each coordinate; withstands f < n / 2 clients.

    Args:
      context: The arguments of the aggregator.
    """
    return aggregation_of(median_rule(context.byzantine))


def median_rule(byzantine: int) -> RowRule:
    """Makes the rule of `median`.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rows = rows_of([[0.0], [1.0], [100.0], [5.0]])
    >>> median_rule(1).apply(rows, ()).value[0].numpy().tolist()
    [3.0]

    Args:
      byzantine: The number f of hostile clients; n > 2f must come.
    """

    def apply(rows: Rows, state: Any) -> Outcome:
        return Outcome(medians(rows.values), state, {})

    return RowRule(apply, more_than_twice("median", byzantine))


def trimmed_mean(context: AggregationContext) -> Aggregation:
    """Averages each coordinate without its f lowest and f highest values.

    Args:
      context: The arguments of the aggregator.
    """
    return aggregation_of(trimmed_mean_rule(context.byzantine))


def trimmed_mean_rule(byzantine: int) -> RowRule:
    """Makes the rule of `trimmed_mean`.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rows = rows_of([[0.0], [1.0], [100.0], [5.0]])
    >>> trimmed_mean_rule(1).apply(rows, ()).value[0].numpy().tolist()
    [3.0]

    Args:
      byzantine: The number f of hostile clients; n > 2f must come.
    """

    def trimmed(ordered: tf.Tensor) -> tf.Tensor:
        count = tf.shape(ordered)[-1]
        kept = ordered[..., byzantine : count - byzantine]
        return tf.reduce_mean(kept, axis=-1)

    def apply(rows: Rows, state: Any) -> Outcome:
        return Outcome(_of_ordered(rows.values, trimmed), state, {})

    return RowRule(apply, more_than_twice("trimmed_mean", byzantine))


def more_than_twice(name: str, byzantine: int) -> Condition:
    """Returns the condition n > 2f, without which f clients decide alone.

    Args:
      name: The name of the rule.
      byzantine: The number f of hostile clients.
    """
    return Condition(2 * byzantine + 1, f"{name} needs n > 2f clients")


def medians(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Takes the median over the rows of each matrix.

    Of an even number of rows it is the mean of the two in the middle.

    Args:
      values: Matrices [clients, numbers].
    """

    def middle(ordered: tf.Tensor) -> tf.Tensor:
        count = tf.shape(ordered)[-1]
        low = ordered[..., (count - 1) // 2]
        # Halves first: a sum of two large numbers may overflow.
        return low * 0.5 + ordered[..., count // 2] * 0.5

    return _of_ordered(values, middle)


def _of_ordered(
    values: Sequence[tf.Tensor], function: Callable[[tf.Tensor], tf.Tensor]
) -> list[tf.Tensor]:
    """Applies a function to the sorted values [numbers, clients] of each."""
    return [function(tf.sort(tf.transpose(each))) for each in values]
