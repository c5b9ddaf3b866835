"""Models that are built in a moment where which model it is does not matter."""

import functools

import tensorflow as tf


def next_token(num_ids):
    """Tokens, int32 [batch, length], to logits [batch, length, num_ids]."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([None], dtype="int32", name="tokens"),
            tf.keras.layers.Embedding(num_ids, 8),
            tf.keras.layers.SimpleRNN(16, return_sequences=True),
            tf.keras.layers.Dense(num_ids, name="logits"),
        ]
    )


# Of as many ids as the characters of Reddi et al. 2021.
next_character = functools.partial(next_token, 90)
