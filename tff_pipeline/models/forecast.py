"""Networks that go on with a series."""

from collections.abc import Sequence

import tensorflow as tf


def gru(
    history: int,
    horizon: int,
    means: Sequence[float],
    deviations: Sequence[float],
    target: int,
    patch: int = 4,
    units: int = 64,
) -> tf.keras.Model:
    """A GRU (Cho et al. 2014) that says how one column goes on.

    Columns are scaled, and each window's own mean is taken away, so that the
    network sees how a series moves and not where (after Kim et al. 2022,
    "RevIN"). The GRU reads some hours at a time (after Nie et al. 2023,
    "PatchTST"), and a linear layer gives each hour's difference from the last
    value that is known.

    Args:
      history: Hours that are known.
      horizon: Hours to predict.
      means: Of each column.
      deviations: Of each column, above 0.
      target: Which column is predicted.
      patch: Hours read at a time; a divisor of `history`.
      units: Of the GRU.

    Returns:
      A model from "history", float32 [batch, history, columns], to float32
      [batch, horizon], both in the columns' own units.
    """
    columns = len(means)
    known = tf.keras.Input([history, columns], name="history")
    scaled = tf.keras.layers.Normalization(
        mean=list(means), variance=[value**2 for value in deviations]
    )(known)
    moves = scaled - tf.reduce_mean(scaled, axis=1, keepdims=True)
    patches = tf.keras.layers.Reshape([history // patch, patch * columns])(
        moves
    )
    state = tf.keras.layers.GRU(units)(patches)
    change = tf.keras.layers.Dense(horizon, kernel_initializer="zeros")(state)
    last = known[:, -1, target, tf.newaxis]
    return tf.keras.Model(known, last + deviations[target] * change)
