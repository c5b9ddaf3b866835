"""A layer that standardizes images."""

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class Standardize(tf.keras.layers.Layer):
    """Brings each image to mean 0 and variance 1.

    >>> images = tf.constant([[[[0.0]], [[2.0]]]])
    >>> Standardize()(images).numpy().ravel()
    array([-1.,  1.], dtype=float32)
    """

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Returns standardized images, of the shape of `images`.

        Args:
          images: float32 [batch, height, width, channels].
        """
        return tf.image.per_image_standardization(images)
