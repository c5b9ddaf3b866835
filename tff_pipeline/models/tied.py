"""Logits from the rows of the embedding that tokens came in by."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class TiedLogits(tf.keras.layers.Layer):
    """A linear layer whose weights are an embedding's, with a bias of its own.

    Press and Wolf 2017, "Using the Output Embedding to Improve Language
    Models".
    """

    def __init__(self, embedding: tf.keras.layers.Embedding, **kwargs: Any):
        """Shares the weights of `embedding`, which must be built."""
        super().__init__(**kwargs)
        self._embedding = embedding
        self.bias = self.add_weight(
            "bias", [embedding.input_dim], initializer="zeros"
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 [..., features] to float32 [..., ids]."""
        table = tf.convert_to_tensor(self._embedding.embeddings)
        return tf.linalg.matmul(inputs, table, transpose_b=True) + self.bias
