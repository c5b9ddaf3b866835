"""Attacks that know the messages of all honest clients of the cohort.

Each replaces the rows of attackers by one that it makes of the honest rows; see
`aggregators.rows`. In a cohort without honest clients rows stay as they are.
Means and deviations are of honest clients alone, which count the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import scipy.stats
import tensorflow as tf

from tff_pipeline.aggregators.robust.distances import (
    squared_distances,
    squared_norms,
)
from tff_pipeline.aggregators.rows import Rows, RowStep, Stepped
from tff_pipeline.attacks.attack import Attack, AttackContext

# The rows of honest clients and the number of all -> what attackers send, a
# vector [numbers] for each tensor of a message.
Forge = Callable[[Rows, tf.Tensor], Sequence[tf.Tensor]]
# The second half of the key of attackers' noise.
_NOISE = -3


def sign_flip_mean(context: AttackContext) -> Attack:
    """Sends the opposite of the honest mean, times a scale.

    Args:
      context: The arguments of the attack.
    """
    return Attack(on_rows=_step(_opposite(context)))


def ipm(context: AttackContext) -> Attack:
    """Sends minus epsilon times the honest mean, by default a tenth.

    Xie et al. 2020, "Fall of Empires": a small epsilon stays among the honest
    updates, and the inner product of mean and aggregate becomes negative.

    Args:
      context: The arguments of the attack.
    """
    return Attack(on_rows=_step(_opposite(context)))


def _opposite(context: AttackContext) -> Forge:
    scale = context.config.attack_scale
    assert scale is not None  # `AttackConfig` sees to it.
    return lambda honest, _: [-scale * mean for mean in _means(honest.values)]


def gaussian(context: AttackContext) -> Attack:
    """Sends noise, each attacker its own, longer than the honest mean.

    Its norm is `--attack_scale` times that of the honest mean.

    Args:
      context: The arguments of the attack.
    """
    scale = context.config.attack_scale
    assert scale is not None  # `AttackConfig` sees to it.

    def apply(rows: Rows, state: Any) -> Stepped:
        norm = tf.sqrt(_squares(_means(_honest(rows).values)))

        def noise(key: tf.Tensor) -> list[tf.Tensor]:
            drawn = [
                tf.random.stateless_normal(
                    tf.shape(each)[1:],
                    tf.stack([key, tf.constant(_NOISE - i, tf.int64)]),
                    dtype=each.dtype,
                )
                for i, each in enumerate(rows.values)
            ]
            factor = scale * norm / tf.sqrt(_squares(drawn))
            return [factor * each for each in drawn]

        specs = [tf.TensorSpec(v.shape[1:], v.dtype) for v in rows.values]
        drawn = tf.map_fn(noise, rows.keys, fn_output_signature=specs)
        return Stepped(_replaced(rows, drawn), state, {})

    return Attack(on_rows=_guarded(apply))


def alie(context: AttackContext) -> Attack:
    """Sends the honest mean minus z honest standard deviations.

    Baruch et al. 2019, "A Little Is Enough": z is the largest with which
    enough honest clients are farther from the mean to outvote the others,
    `alie_z`, unless `--attack_scale` is set. Deviations have n - 1 below them.

    Args:
      context: The arguments of the attack.
    """
    scale = context.config.attack_scale

    def forge(honest: Rows, clients: tf.Tensor) -> Sequence[tf.Tensor]:
        z = scale if scale is not None else _z(clients, honest.count)
        return [
            mean - z * _deviation(each, mean)
            for each, mean in zip(honest.values, _means(honest.values))
        ]

    note = ""
    if scale is None:
        n = context.cohort_size
        share = context.attackers / len(context.task.train)
        m = max(1, round(share * n))
        z = alie_z(n, m)
        note = f"Where {m} of {n} clients attack, alie sends z = {z:.3g}"
        note += (
            " standard deviations."
            if z
            else ", which is the honest mean: it is no attack there; set "
            "--attack_scale."
        )
    return Attack(on_rows=_step(forge), note=note)


def alie_z(clients: int, attackers: int) -> float:
    """Computes how many deviations `alie` keeps from the honest mean.

    Baruch et al. 2019, section 3.1: s = floor(n/2) + 1 - m honest clients must
    be won for a majority, and z is the quantile (n - m - s) / (n - m) of a
    normal distribution; 0 where that is negative.

    >>> [round(alie_z(*each), 6) for each in ((25, 5), (50, 12), (10, 2))]
    [0.253347, 0.336038, 0.0]

    Args:
      clients: The number n of clients in the cohort.
      attackers: The number m of attackers among them.
    """
    quantile = float(scipy.stats.norm.ppf(_share(clients, attackers)))
    return max(0.0, quantile)


def _share(clients: int, attackers: int) -> float:
    honest = clients - attackers
    won = max(1, clients // 2 + 1 - attackers)
    return max(0, honest - won) / max(1, honest)


def _z(clients: tf.Tensor, honest: tf.Tensor) -> tf.Tensor:
    """Computes `alie_z` in a graph, from the numbers of all and of honest."""
    won = tf.maximum(1, clients // 2 + 1 - (clients - honest))
    share = tf.cast(tf.maximum(0, honest - won) / honest, tf.float32)
    return tf.maximum(0.0, tf.math.ndtri(share))


def mimic(context: AttackContext) -> Attack:
    """Copies one honest client, over-represented from then on in the round.

    Karimireddy et al. 2022, section 4.2: the one that lies most along the
    direction in which honest updates vary most. It is chosen anew in every
    round, where the paper's code keeps one, for cohorts change.

    Args:
      context: The arguments of the attack.
    """
    del context

    def forge(honest: Rows, _: tf.Tensor) -> Sequence[tf.Tensor]:
        values = honest.values
        apart = [each - mean for each, mean in zip(values, _means(values))]
        products = tf.add_n(
            [tf.matmul(each, each, transpose_b=True) for each in apart]
        )
        # The last is the eigenvector of the largest eigenvalue.
        along = tf.abs(tf.linalg.eigh(products)[1][:, -1])
        chosen = tf.argmax(along)
        return [each[chosen] for each in values]

    return Attack(on_rows=_step(forge))


def min_max(context: AttackContext) -> Attack:
    """Goes as far from the honest mean as two honest clients are apart.

    Shejwalkar and Houmansadr 2021, "Manipulating the Byzantine", equation 3,
    along minus the honest standard deviation: gamma is the largest with which
    no honest client is farther away than honest clients are from each other.
    The paper searches for it; each distance is a quadratic function of gamma,
    so that it has a closed form.

    Args:
      context: The arguments of the attack.
    """
    del context

    def forge(honest: Rows, _: tf.Tensor) -> Sequence[tf.Tensor]:
        values, means = honest.values, _means(honest.values)
        along = [_deviation(each, mean) for each, mean in zip(values, means)]
        gamma = _farthest(honest, means, along)
        return [mean - gamma * way for mean, way in zip(means, along)]

    return Attack(on_rows=_step(forge))


def _farthest(
    honest: Rows, means: Sequence[tf.Tensor], along: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Computes the largest gamma: |mean - gamma along - x| <= the limit.

    The limit is the largest distance between two honest clients, and x each of
    them; with d = mean - x that is gamma^2 |along|^2 - 2 gamma <along, d>
    <= limit^2 - |d|^2.
    """
    apart = [mean - each for each, mean in zip(honest.values, means)]
    a = _squares(along)
    b = tf.add_n([tf.linalg.matvec(x, way) for x, way in zip(apart, along)])
    limit = tf.reduce_max(squared_distances(honest))
    room = tf.maximum(
        tf.constant(0.0, limit.dtype), limit - squared_norms(apart)
    )
    root = tf.sqrt(b * b + a * tf.cast(room, b.dtype))
    return tf.reduce_min(tf.math.divide_no_nan(b + root, a))


def _step(forge: Forge) -> RowStep:
    """Makes the step that gives all attackers what `forge` makes."""

    def apply(rows: Rows, state: Any) -> Stepped:
        forged = forge(_honest(rows), rows.count)
        vectors = [vector[tf.newaxis] for vector in forged]
        return Stepped(_replaced(rows, vectors), state, {})

    return _guarded(apply)


def _guarded(apply: Callable[[Rows, Any], Stepped]) -> RowStep:
    """Makes a step that leaves the rows of a cohort of attackers alone."""

    def guarded(rows: Rows, state: Any) -> Stepped:
        # There is no mean of nobody.
        values: Any = tf.cond(
            tf.reduce_any(tf.equal(rows.marks, 0)),
            lambda: list(apply(rows, state).rows.values),
            lambda: list(rows.values),
        )
        return Stepped(rows._replace(values=values), state, {})

    return RowStep(guarded)


def _honest(rows: Rows) -> Rows:
    """Returns the rows of clients that do not attack."""
    honest = tf.equal(rows.marks, 0)
    return Rows(
        [tf.boolean_mask(each, honest) for each in rows.values],
        tf.boolean_mask(rows.weights, honest),
        tf.boolean_mask(rows.keys, honest),
        tf.boolean_mask(rows.marks, honest),
        rows.round,
    )


def _replaced(rows: Rows, forged: Sequence[tf.Tensor]) -> Rows:
    """Puts other values in the place of attackers' rows."""
    attack = tf.not_equal(rows.marks, 0)[:, tf.newaxis]
    return rows._replace(
        values=[
            tf.where(attack, bad, each)
            for bad, each in zip(forged, rows.values)
        ]
    )


def _means(rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.reduce_mean(each, axis=0) for each in rows]


def _deviation(row: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Computes standard deviations with n - 1 below them; 0 of one client."""
    squares = tf.reduce_sum((row - mean) ** 2, axis=0)
    below = tf.cast(tf.maximum(1, tf.shape(row)[0] - 1), row.dtype)
    return tf.sqrt(squares / below)


def _squares(vectors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Sums the squares of all numbers."""
    return tf.add_n([tf.reduce_sum(each * each) for each in vectors])
