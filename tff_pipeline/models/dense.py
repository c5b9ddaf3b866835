"""Fully connected networks."""

from collections.abc import Sequence

import tensorflow as tf


def two_hidden_layers(
    image_shape: Sequence[int], scale: float, num_classes: int
) -> tf.keras.Model:
    """Makes the 2NN of McMahan et al. 2017, section 3: two ReLU layers of 200.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      num_classes: The number of logits.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes]; 199,210 parameters for 28x28 and ten classes.

    >>> two_hidden_layers([28, 28, 1], 1 / 255, 10).count_params()
    199210
    """
    return _network(2, image_shape, scale, num_classes)


def one_hidden_layer(
    image_shape: Sequence[int], scale: float, num_classes: int
) -> tf.keras.Model:
    """Makes a network with one ReLU layer of 200.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      num_classes: The number of logits.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes].

    >>> one_hidden_layer([28, 28, 1], 1 / 255, 10).count_params()
    159010
    """
    return _network(1, image_shape, scale, num_classes)


def _network(
    hidden: int, image_shape: Sequence[int], scale: float, num_classes: int
) -> tf.keras.Model:
    """Makes a network with so many ReLU layers of 200."""
    return tf.keras.Sequential(
        [
            tf.keras.Input(image_shape, dtype="uint8", name="image"),
            tf.keras.layers.Rescaling(scale),
            tf.keras.layers.Flatten(),
            *(
                tf.keras.layers.Dense(200, activation="relu")
                for _ in range(hidden)
            ),
            tf.keras.layers.Dense(num_classes, name="logits"),
        ]
    )
