"""Networks for arrays of a shape that is known only when they are read."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Optional

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Mean and deviation of inputs, of each place along their last axis."""

    mean: list[float]
    deviation: list[float]


def scaling(parts: Iterable[np.ndarray], shape: Sequence[int]) -> Scaling:
    """Statistics of inputs that come a part at a time.

    Args:
      parts: Arrays of shape [n, *shape]; NaN counts nothing.
      shape: Of one input. Of [height, width] and of a scalar all numbers count
        alike, else those of each place along the last axis.

    Returns:
      Lists of the length of the last axis, or 1; a deviation of 0 is given
      as 1.
    """
    last = shape[-1] if len(shape) in (1, 3) or len(shape) > 3 else 1
    count, mean, squares = np.zeros(last), np.zeros(last), np.zeros(last)
    # Each part's squares about its own mean, lest those of large numbers cancel
    # (Chan, Golub and LeVeque 1983, "Algorithms for computing the sample
    # variance", equation 1.5).
    for part in parts:
        values = part.reshape(-1, last).astype(np.float64)
        known = ~np.isnan(values)
        more = known.sum(axis=0)
        both = np.maximum(count + more, 1)
        own = np.where(known, values, 0.0).sum(axis=0) / np.maximum(more, 1)
        apart = own - mean
        squares += np.square(np.where(known, values - own, 0.0)).sum(axis=0)
        squares += np.square(apart) * count * more / both
        mean += apart * more / both
        count += more
    deviation = np.sqrt(squares / np.maximum(count, 1))
    deviation[deviation == 0] = 1.0
    return Scaling(mean.tolist(), deviation.tolist())


def by_rank(
    shape: Sequence[int],
    dtype: str,
    scale: Scaling,
    outputs: int,
    label_mean: Optional[Sequence[float]] = None,
    label_deviation: Optional[Sequence[float]] = None,
) -> tf.keras.Model:
    """A network that fits inputs of any shape.

    Inputs of shape [height, width] or [height, width, channels] go through two
    convolutions of 3x3 with 32 and 64 filters, each with a 2x2 max-pool, and a
    hidden layer of 64; all others, flattened, through hidden layers of 64 and
    32. All are ReLU.

    Args:
      shape: Of one input.
      dtype: Of the inputs.
      scale: See `scaling`; inputs are brought to mean 0 and deviation 1, and
        NaN becomes 0.
      outputs: How many logits or numbers come out.
      label_mean: Of the numbers to predict, which the last layer's are scaled
        to; `None` for logits.
      label_deviation: Likewise.

    Returns:
      A model from "x", `dtype` [batch, *shape], to float32 [batch, outputs].
    """
    layers = tf.keras.layers
    x = tf.keras.Input(shape, dtype=dtype, name="x")
    values = (tf.cast(x, tf.float32) - scale.mean) / scale.deviation
    values = tf.where(tf.math.is_nan(values), 0.0, values)
    if len(shape) in (2, 3):
        if len(shape) == 2:
            values = layers.Reshape([*shape, 1])(values)
        for filters in (32, 64):
            values = layers.Conv2D(
                filters, 3, padding="same", activation="relu"
            )(values)
            values = layers.MaxPool2D(padding="same")(values)
        hidden = [64]
    else:
        hidden = [64, 32]
    values = layers.Flatten()(values)
    for units in hidden:
        values = layers.Dense(units, activation="relu")(values)
    output = layers.Dense(outputs)(values)
    if label_mean is not None:
        output = output * list(label_deviation or ()) + list(label_mean)
    return tf.keras.Model(x, output)
