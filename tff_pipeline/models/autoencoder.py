"""Autoencoders: networks that reproduce their input from a short code."""

import tensorflow as tf

_WIDTHS = (1000, 500, 250)
_CODE = 30


def bottleneck(
    image_shape: tuple[int, int, int], scale: float, offset: float
) -> tf.keras.Model:
    """Makes the autoencoder for EMNIST of Reddi et al. 2021, appendix C.

    After Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data
    with Neural Networks": sigmoid layers of 1000, 500 and 250 units, a linear
    code of 30, the same layers back, and as many sigmoid outputs as pixels.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      scale: What pixels are multiplied with first.
      offset: What is added then; pixels should then lie between 0 and 1.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to float32 [batch,
      pixels], 0 to 1; 2,837,314 parameters for 28x28.

    >>> bottleneck((28, 28, 1), -1 / 255, 1.0).count_params()
    2837314
    """
    height, width, channels = image_shape

    def dense(units: int, activation: str = "sigmoid") -> tf.keras.layers.Layer:
        return tf.keras.layers.Dense(units, activation=activation)

    return tf.keras.Sequential(
        [
            tf.keras.Input(image_shape, dtype="uint8", name="image"),
            tf.keras.layers.Rescaling(scale, offset),
            tf.keras.layers.Flatten(),
            *(dense(units) for units in _WIDTHS),
            dense(_CODE, "linear"),
            *(dense(units) for units in reversed(_WIDTHS)),
            dense(height * width * channels),
        ]
    )
