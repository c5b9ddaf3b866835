"""Logits that are products with the rows of an embedding."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class TiedLogits(tf.keras.layers.Layer):
    """A linear layer whose weights are an embedding's, with its own bias.

    Press and Wolf 2017, "Using the Output Embedding to Improve Language
    Models".
    """

    def __init__(self, embedding: tf.keras.layers.Embedding, **kwargs: Any):
        """Makes the layer.

        Args:
          embedding: The layer whose weights are shared; it must be built.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self._embedding = embedding
        self.bias = self.add_weight(
            "bias", [embedding.input_dim], initializer="zeros"
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [..., ids].

        Args:
          inputs: float32 [..., features].
        """
        table = tf.convert_to_tensor(self._embedding.embeddings)
        return tf.linalg.matmul(inputs, table, transpose_b=True) + self.bias
