"""Models with one layer of weights: logistic, softmax and Cox regression."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array = npt.NDArray[Any]


def regression(
    features: int, outputs: int, name: str = "features"
) -> tf.keras.Model:
    """Makes one dense layer, without an activation.

    Its first weights and biases are uniform within 1 / sqrt(features), as in
    the PyTorch baselines of FLamby (Ogier du Terrail et al. 2022), from whose
    starting points short trainings do not get far away.

    Args:
      features: The number of inputs.
      outputs: The number of outputs.
      name: The name of the input.

    Returns:
      A model from float32 [batch, features] to float32 [batch, outputs];
      (features + 1) * outputs parameters.

    >>> regression(60, 10).count_params()
    610
    """
    return tf.keras.Sequential(
        [
            tf.keras.Input([features], name=name),
            _dense(features, outputs),
        ]
    )


def on_pixels(
    image_shape: Sequence[int],
    num_classes: int,
    scale: float,
    offset: float = 0.0,
) -> tf.keras.Model:
    """Makes a logistic regression on images, which begins with zeros.

    Args:
      image_shape: The shape of one image, such as [28, 28, 1].
      num_classes: The number of logits.
      scale: What pixels are multiplied with first.
      offset: What is added to them then.

    Returns:
      A model from "image", uint8 [batch, *image_shape], to logits, float32
      [batch, num_classes].

    >>> on_pixels([28, 28, 1], 10, 1 / 255).count_params()
    7850
    """
    return tf.keras.Sequential(
        [
            tf.keras.Input(image_shape, dtype="uint8", name="image"),
            tf.keras.layers.Rescaling(scale, offset),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(
                num_classes, kernel_initializer="zeros", name="logits"
            ),
        ]
    )


def patient_logistic(
    hospital_means: Array, hospital_deviations: Array
) -> tf.keras.Model:
    """Makes a logistic regression on a patient of UCI Heart Disease.

    Every feature is standardised by the statistics of the patient's hospital,
    as each hospital does in FLamby (Ogier du Terrail et al. 2022).

    Args:
      hospital_means: The means of `encode_patients`, float32 [hospitals + 1,
        13]; row 0 is for a hospital that is not known.
      hospital_deviations: The standard deviations, float32 of the same shape,
        above 0.

    Returns:
      A model from "patient", float32 [batch, 11], to a logit, float32 [batch,
      1]; 14 parameters.
    """
    patient = tf.keras.Input([11], name="patient")
    scaled = Standardised(
        np.asarray(hospital_means).tolist(),
        np.asarray(hospital_deviations).tolist(),
    )(patient)
    return tf.keras.Model(patient, _dense(13, 1)(scaled))


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class Standardised(tf.keras.layers.Layer):
    """Standardises a patient's features by the statistics of the hospital."""

    def __init__(
        self,
        means: Sequence[Sequence[float]],
        deviations: Sequence[Sequence[float]],
        **options: Any,
    ):
        """Makes the layer.

        Args:
          means: A row of 13 features' means for each hospital; row 0 is for one
            that is not known.
          deviations: Their standard deviations, above 0.
          **options: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**options)
        self._known = {"means": means, "deviations": deviations}

    def call(self, patient: tf.Tensor) -> tf.Tensor:
        """Returns standardised features, float32 [batch, 13].

        Args:
          patient: float32 [batch, 11], as in `datasets.heart_disease`.
        """
        hospital = tf.cast(patient[:, 0], tf.int32)
        mean = tf.gather(tf.constant(self._known["means"]), hospital)
        deviation = tf.gather(tf.constant(self._known["deviations"]), hospital)
        return (encode_patients(patient) - mean) / deviation

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), **self._known}


def encode_patients(patients: tf.Tensor) -> tf.Tensor:
    """Returns the 13 features of FLamby's Fed-Heart-Disease.

    Args:
      patients: float32 [batch, 11], as in `datasets.heart_disease`.

    Returns:
      float32 [batch, 13]: age, sex, trestbps, chol, fbs, thalach, exang and
      oldpeak as they are; then 1 or 0 for cp being 2, 3 and 4, and for restecg
      being 1 and 2 (the first kind of each is the one that is none of the
      others).
    """

    def kinds(column: int, others: Sequence[float]) -> tf.Tensor:
        value = patients[:, column : column + 1]
        return tf.cast(tf.equal(value, others), tf.float32)

    return tf.concat(
        [
            patients[:, 1:3],
            patients[:, 4:7],
            patients[:, 8:],
            kinds(3, [2.0, 3.0, 4.0]),
            kinds(7, [1.0, 2.0]),
        ],
        axis=1,
    )


def _dense(features: int, outputs: int) -> tf.keras.layers.Dense:
    initializers = tf.keras.initializers
    return tf.keras.layers.Dense(
        outputs,
        kernel_initializer=initializers.VarianceScaling(
            1 / 3, "fan_in", "uniform"
        ),
        bias_initializer=initializers.RandomUniform(
            -(features**-0.5), features**-0.5
        ),
        name="output",
    )
