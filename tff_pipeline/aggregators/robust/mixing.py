"""Steps that mix rows before a rule: nearest neighbours, and buckets.

They make honest clients that hold different data more alike, so that a rule
takes fewer of them for hostile.
"""

from typing import Any

import tensorflow as tf

from tff_pipeline import randomness
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.collect import aggregation_of
from tff_pipeline.aggregators.robust.coordinates import more_than_twice
from tff_pipeline.aggregators.robust.distances import squared_distances
from tff_pipeline.aggregators.robust.order import seats
from tff_pipeline.aggregators.rows import (
    Condition,
    RowRule,
    Rows,
    RowStep,
    Stepped,
)


def nnm(context: AggregationContext) -> Aggregation:
    """Replaces each update by the mean of the n - f nearest to it.

    Allouah et al. 2023, "Fixing by mixing: a recipe for optimal Byzantine ML
    under heterogeneity", algorithm 2. An update is among those nearest to it.
    It costs n^2 / 2 distances, beside those of the rule after it.

    Args:
      context: The arguments of the step; `context.inner` is the rule.
    """
    return aggregation_of(nnm_step(context.byzantine).before(_rule(context)))


def nnm_step(byzantine: int) -> RowStep:
    """Makes the step of `nnm`.

    Clients that are equally near for the last places share them.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> stepped = nnm_step(1).apply(rows_of([[0.0], [2.0], [9.0]]), ())
    >>> stepped.rows.values[0].numpy().tolist()
    [[1.0], [1.0], [5.5]]

    Args:
      byzantine: The number f of hostile clients; n > 2f must come.
    """

    def apply(rows: Rows, state: Any) -> Stepped:
        count = rows.count - byzantine
        shares = seats(squared_distances(rows), count)
        shares /= tf.cast(count, tf.float32)
        values = [tf.matmul(shares, each) for each in rows.values]
        return Stepped(rows._replace(values=values), state, {})

    def needs(inner: Condition) -> Condition:
        own = more_than_twice("nnm", byzantine)
        return max(inner, own, key=lambda each: each.clients)

    return RowStep(apply, needs)


def bucketing(context: AggregationContext) -> Aggregation:
    """Replaces `--bucket_size` clients, drawn anew each round, by their mean.

    Karimireddy, He, Jaggi 2022, "Byzantine-robust learning on heterogeneous
    datasets via bucketing", algorithm 1. Of n clients ceil(n / s) rows are
    left, and as many of them as before may be hostile.

    Args:
      context: The arguments of the step; `context.inner` is the rule.
    """
    size = context.config.bucket_size
    assert size is not None  # `config` settles it.
    step = bucketing_step(size, context.seed)
    return aggregation_of(step.before(_rule(context)))


def bucketing_step(size: int, seed: int) -> RowStep:
    """Makes the step of `bucketing`.

    Who shares a bucket is a function of the seed, the number of the round and
    the places of clients in the cohort.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> rows = bucketing_step(2, seed=0).apply(rows_of([[0.0]] * 5), ()).rows
    >>> rows.values[0].shape.as_list()
    [3, 1]

    Args:
      size: The number s of clients in a bucket; the last may have fewer.
      seed: The experiment's seed.
    """
    key = int(randomness.generator(seed, "bucketing").integers(2**62))

    def apply(rows: Rows, state: Any) -> Stepped:
        count = rows.count
        buckets = (count + size - 1) // size
        bits = tf.random.stateless_uniform(
            [count],
            tf.stack([key, tf.cast(rows.round, tf.int64)]),
            minval=None,
            maxval=None,
            dtype=tf.int64,
        )
        bucket_of = tf.argsort(tf.argsort(bits)) // size
        members = tf.one_hot(bucket_of, buckets, axis=0)
        shares = members / tf.reduce_sum(members, axis=1, keepdims=True)
        mixed = Rows(
            [tf.matmul(shares, each) for each in rows.values],
            tf.ones([buckets]),
            tf.zeros([buckets], tf.int64),
            tf.zeros([buckets], tf.int32),
            rows.round,
        )
        return Stepped(mixed, state, {})

    def needs(inner: Condition) -> Condition:
        if size == 1:
            return inner
        return Condition(
            size * (inner.clients - 1) + 1,
            f"{inner.words} after buckets of {size}",
        )

    return RowStep(apply, needs)


def _rule(context: AggregationContext) -> RowRule:
    """Returns the rule after a step."""
    assert context.inner is not None  # `config` sees to both: no plan, and
    assert context.inner.rule is not None  # no step on clients after it.
    return context.inner.rule
