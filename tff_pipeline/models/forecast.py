"""Networks that continue a time series."""

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
    """Makes a GRU (Cho et al. 2014) that predicts how one column continues.

    Columns are scaled, and each window's own mean is subtracted, so that the
    network sees how a series moves and not where (after Kim et al. 2022,
    "RevIN"). The GRU reads several hours at a time (after Nie et al. 2023,
    "PatchTST"), and a linear layer gives each hour's difference from the last
    known value.

    Args:
      history: The number of known hours.
      horizon: The number of hours to predict.
      means: The mean of each column.
      deviations: The standard deviation of each column, above 0.
      target: The position of the column to predict.
      patch: The number of hours read at a time, a divisor of `history`.
      units: Units of the GRU.

    Returns:
      A model from "history", float32 [batch, history, columns], to float32
      [batch, horizon], both in the columns' own units.

    >>> model = gru(96, 24, means=[0.0] * 7, deviations=[1.0] * 7, target=6)
    >>> model.output_shape
    (None, 24)
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
