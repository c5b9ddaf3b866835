"""Convolutional networks."""

from collections.abc import Sequence

import tensorflow as tf


def two_convolutions(
    image_shape: Sequence[int],
    scale: float,
    num_classes: int,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 5,
    hidden: int = 512,
) -> tf.keras.Model:
    """The CNN of McMahan et al. 2017, section 3.

    Two convolutions with "same" padding, each with a 2x2 max-pool, then one
    hidden ReLU layer.

    Args:
      image_shape: Of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      num_classes: How many logits come out.
      filters: Of the two convolutions.
      kernel_size: Of both.
      hidden: Units of the hidden layer.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes]; 1,663,370 parameters for 28x28 and ten classes.
    """
    layers = [
        tf.keras.Input(image_shape, dtype="uint8", name="image"),
        tf.keras.layers.Rescaling(scale),
    ]
    for count in filters:
        layers += [
            tf.keras.layers.Conv2D(
                count, kernel_size, padding="same", activation="relu"
            ),
            tf.keras.layers.MaxPool2D(),
        ]
    layers += [
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(hidden, activation="relu"),
        tf.keras.layers.Dense(num_classes, name="logits"),
    ]
    return tf.keras.Sequential(layers)
