"""Networks for arrays whose shape is known only when they are read."""

from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from tff_pipeline.models.scaling import Scaling


def network_for_shape(
    shape: Sequence[int],
    dtype: str,
    scaling: Scaling,
    outputs: int,
    label_scaling: Optional[Scaling] = None,
) -> tf.keras.Model:
    """Makes a network that fits inputs of any shape.

    Inputs of shape [height, width] or [height, width, channels] go through two
    convolutions of 3x3 with 32 and 64 filters, each with a 2x2 max-pool, and a
    hidden layer of 64; all others, flattened, through hidden layers of 64 and
    32. All are ReLU.

    Args:
      shape: The shape of one input.
      dtype: The type of the inputs, a numeric one.
      scaling: See `scaling.input_scaling`; inputs are brought to mean 0 and
        deviation 1, and NaN becomes 0.
      outputs: The number of logits or predicted numbers.
      label_scaling: What the last layer's numbers are scaled to, one an output;
        `None` for logits.

    Returns:
      A model from "x", `dtype` [batch, *shape], to float32 [batch, outputs].

    >>> model = network_for_shape([4], "float32", Scaling([0.0], [1.0]), 3)
    >>> model.output_shape
    (None, 3)
    """
    layers = tf.keras.layers
    x = tf.keras.Input(shape, dtype=dtype, name="x")
    values = (tf.cast(x, tf.float32) - scaling.mean) / scaling.deviation
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
    if label_scaling is not None:
        output = output * label_scaling.deviation + label_scaling.mean
    return tf.keras.Model(x, output)
