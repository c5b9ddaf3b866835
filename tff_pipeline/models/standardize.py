"""Images with a mean of 0 and a deviation of 1 each."""

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class Standardize(tf.keras.layers.Layer):
    """Brings each image to mean 0 and variance 1."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """float32 [batch, height, width, channels] to the same."""
        return tf.image.per_image_standardization(images)
