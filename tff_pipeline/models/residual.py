"""Residual networks."""

import tensorflow as tf

from tff_pipeline.models.standardize import Standardize
from tff_pipeline.runtime import compat

_CROPPED = (24, 24, 3)


def cifar_resnet18(num_classes: int = 100) -> tf.keras.Model:
    """Makes TFF's ResNet-18 with group normalization.

    As in Reddi et al. 2021, appendix C: images are cropped to 24x24 (here to
    the middle) and standardized, and batch normalization is replaced by group
    normalization.

    Args:
      num_classes: The number of logits.

    Returns:
      A model from "image", uint8 [batch, 32, 32, 3], to logits, float32 [batch,
      num_classes]; 11,227,812 parameters for 100 classes.
    """
    network = compat.resnet18(_CROPPED, num_classes)
    # TFF's ends in a softmax; the same layer without it gives logits.
    settings = network.layers[-1].get_config()
    settings.update(name="logits", activation="linear")
    image = tf.keras.Input((32, 32, 3), dtype="uint8", name="image")
    cropped = tf.keras.layers.CenterCrop(*_CROPPED[:2])(image)
    body = tf.keras.Model(network.inputs, network.layers[-2].output)
    features = body(Standardize()(cropped))
    logits = tf.keras.layers.Dense.from_config(settings)(features)
    return tf.keras.Model(image, logits)
