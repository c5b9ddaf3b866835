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
    """Makes the CNN of McMahan et al. 2017, section 3.

    Two convolutions with "same" padding, each with a 2x2 max-pool, then one
    hidden ReLU layer.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      num_classes: The number of logits.
      filters: The number of filters of each convolution.
      kernel_size: The width and height of both convolutions' kernels.
      hidden: Units of the hidden layer.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes]; 1,663,370 parameters for 28x28 and ten classes.

    >>> two_convolutions([28, 28, 1], 1 / 255, 10).count_params()
    1663370
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


def conv_conv_pool(
    image_shape: Sequence[int],
    num_classes: int,
    scale: float = 1.0,
    offset: float = 0.0,
    dtype: str = "uint8",
    dropout: tuple[float, float] = (0.25, 0.5),
    whole_maps: bool = False,
) -> tf.keras.Model:
    """Makes the CNN for EMNIST of Reddi et al. 2021, appendix C.

    Two 3x3 convolutions of 32 and 64 filters without padding, one 2x2 max-pool,
    a hidden layer of 128; dropout after the pool and after the hidden layer.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      num_classes: The number of logits.
      scale: What pixels are multiplied with first.
      offset: What is added then.
      dtype: The type of the pixels.
      dropout: The two dropout rates, 0 to 1; zeros leave the layers out.
      whole_maps: Whether the first drops whole feature maps.

    Returns:
      A model from "image", `dtype` [batch, *image_shape], to logits, float32
      [batch, num_classes]; for 28x28, 1,206,590 parameters with 62 classes and
      1,199,882 with ten.

    >>> conv_conv_pool([28, 28, 1], 62).count_params()
    1206590
    """
    after_pool, after_hidden = dropout
    kind = tf.keras.layers.Dropout
    if whole_maps:
        kind = tf.keras.layers.SpatialDropout2D
    return tf.keras.Sequential(
        [
            tf.keras.Input(image_shape, dtype=dtype, name="image"),
            tf.keras.layers.Rescaling(scale, offset),
            tf.keras.layers.Conv2D(32, 3, activation="relu"),
            tf.keras.layers.Conv2D(64, 3, activation="relu"),
            tf.keras.layers.MaxPool2D(),
            *([kind(after_pool)] if after_pool else []),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            *([tf.keras.layers.Dropout(after_hidden)] if after_hidden else []),
            tf.keras.layers.Dense(num_classes, name="logits"),
        ]
    )


def lenet(
    image_shape: Sequence[int], scale: float, num_classes: int
) -> tf.keras.Model:
    """Makes the CNN of Li et al. 2022, "Federated learning on non-IID silos".

    Two 5x5 convolutions of 6 and 16 filters without padding, each with a 2x2
    max-pool, then hidden ReLU layers of 120 and 84: LeNet-5's sizes (LeCun et
    al. 1998).

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      num_classes: The number of logits.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes]; 44,426 parameters for 28x28 and ten classes.

    >>> lenet([28, 28, 1], 1 / 255, 10).count_params()
    44426
    """
    return tf.keras.Sequential(
        [
            tf.keras.Input(image_shape, dtype="uint8", name="image"),
            tf.keras.layers.Rescaling(scale),
            tf.keras.layers.Conv2D(6, 5, activation="relu"),
            tf.keras.layers.MaxPool2D(),
            tf.keras.layers.Conv2D(16, 5, activation="relu"),
            tf.keras.layers.MaxPool2D(),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(120, activation="relu"),
            tf.keras.layers.Dense(84, activation="relu"),
            tf.keras.layers.Dense(num_classes, name="logits"),
        ]
    )
