"""Networks for short recordings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array = npt.NDArray[Any]


@tf.keras.utils.register_keras_serializable(package="tff_pipeline")
class LogMel(tf.keras.layers.Layer):
    """Turns waveforms into pictures: the logarithm of a mel spectrogram.

    Frames of 32 ms every 16 ms under a Hann window; their power in triangular
    bands that are equally wide in mel (Davis and Mermelstein 1980); its
    logarithm, with each recording's own mean subtracted and divided by its own
    deviation, so that neither loudness nor microphone matter. The layer has no
    weights.

    >>> LogMel(rate=8000)(tf.zeros([1, 8000], tf.int16)).shape
    TensorShape([1, 61, 40, 1])
    """

    def __init__(self, rate: int = 8000, bands: int = 40, **kwargs: Any):
        """Makes the layer.

        Args:
          rate: Samples a second, a multiple of 1000 / 16.
          bands: The number of mel bands, from 60 Hz to half the rate.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.rate = rate
        self.bands = bands

    def call(self, waves: tf.Tensor) -> tf.Tensor:
        """Returns spectrograms, float32 [batch, frames, bands, 1].

        Args:
          waves: int16 [batch, samples].
        """
        samples = tf.cast(waves, tf.float32) / 2.0**15
        step = 16 * self.rate // 1000
        steps = samples.shape[-1] // step
        pieces = tf.reshape(samples[:, : steps * step], [-1, steps, step])
        pieces = tf.transpose(pieces, [0, 2, 1])
        frames = tf.concat([pieces[:, :, :-1], pieces[:, :, 1:]], axis=1)
        # Products, not an FFT: converters know them, phones and browsers too.
        # From the left, for TensorFlow Lite gives 8 bits to what is right.
        real, imaginary = _fourier(2 * step)
        power = (real @ frames) ** 2 + (imaginary @ frames) ** 2
        mel = tf.signal.linear_to_mel_weight_matrix(
            self.bands, step + 1, self.rate, 60.0, self.rate / 2
        )
        power = tf.transpose(tf.transpose(mel) @ power, [0, 2, 1])
        # Quieter than one unit of 16 bits counts as silence.
        logarithm = tf.math.log(power + 1e-5)
        mean, variance = tf.nn.moments(logarithm, [1, 2], keepdims=True)
        return ((logarithm - mean) / tf.sqrt(variance + 1e-3))[..., tf.newaxis]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "bands": self.bands,
        }


def _fourier(length: int) -> tuple[Array, Array]:
    """Returns a Fourier transform under a periodic Hann window, as matrices.

    Args:
      length: Samples of a frame, an even number.

    Returns:
      The real and the imaginary part, float32 [length / 2 + 1, length] each;
      their products with a frame are its spectrum.
    """
    time = np.arange(length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / length)
    angles = 2 * np.pi / length * np.outer(np.arange(length // 2 + 1), time)
    real, imaginary = np.cos(angles) * window, np.sin(angles) * window
    return real.astype(np.float32), imaginary.astype(np.float32)


def log_mel_cnn(
    samples: int,
    rate: int,
    num_classes: int,
    filters: Sequence[int] = (16, 32, 64),
    hidden: int = 64,
    dropout: float = 0.3,
) -> tf.keras.Model:
    """Makes a small CNN on log-mel spectrograms.

    Three 3x3 convolutions with "same" padding, each with a 2x2 max-pool, then
    one hidden ReLU layer; dropout before and after it.

    Args:
      samples: Samples of one recording.
      rate: Samples a second.
      num_classes: The number of logits.
      filters: The number of filters of each convolution.
      hidden: Units of the hidden layer.
      dropout: The share of values that training leaves out, 0 to 1.

    Returns:
      A model from "audio", int16 [batch, samples], to logits, float32 [batch,
      num_classes].

    >>> log_mel_cnn(samples=8000, rate=8000, num_classes=10).output_shape
    (None, 10)
    """
    layers = [
        tf.keras.Input([samples], dtype="int16", name="audio"),
        LogMel(rate),
    ]
    for count in filters:
        layers += [
            tf.keras.layers.Conv2D(count, 3, padding="same", activation="relu"),
            tf.keras.layers.MaxPool2D(),
        ]
    layers += [
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dropout(dropout),
        tf.keras.layers.Dense(hidden, activation="relu"),
        tf.keras.layers.Dropout(dropout),
        tf.keras.layers.Dense(num_classes, name="logits"),
    ]
    return tf.keras.Sequential(layers)
