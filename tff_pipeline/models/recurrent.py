"""Recurrent networks that predict every next token of a text."""

import tensorflow as tf

from tff_pipeline.models.peephole import PeepholeLSTMCell
from tff_pipeline.models.tied import TiedLogits

# Ids of `datasets.words`: 10,000 words, padding, unknown, begin and end.
WORD_IDS = 10_004


def two_lstms(num_ids: int, peepholes: bool = False) -> tf.keras.Model:
    """Makes the character model of McMahan et al. 2017 and Reddi et al. 2021.

    An embedding of 8, two LSTM layers of 256 and logits: 796,672 + 265 *
    num_ids parameters, 1,536 more with peepholes (Gers et al. 2002: each gate
    sees its cell's state too). That is 820,522 for 90 ids, as in Reddi et al.

    McMahan et al. state 866,578, which no number of ids gives without
    peepholes; with them, 258 ids do: those of all bytes and two more. The paper
    says neither, so both are our inference.

    Args:
      num_ids: The number of ids, as input and as output.
      peepholes: True for LSTMs with peepholes.

    Returns:
      A model from "tokens", int32 [batch, length], to logits, float32 [batch,
      length, num_ids], for any length; padding is an id like the others.

    >>> two_lstms(90).count_params()
    820522
    """
    layers = [
        tf.keras.Input([None], dtype="int32", name="tokens"),
        tf.keras.layers.Embedding(num_ids, 8),
    ]
    for _ in range(2):
        if peepholes:
            cell = PeepholeLSTMCell(256)
            layers.append(tf.keras.layers.RNN(cell, return_sequences=True))
        else:
            layers.append(
                tf.keras.layers.LSTM(
                    256, kernel_initializer="he_normal", return_sequences=True
                )
            )
    layers.append(tf.keras.layers.Dense(num_ids, name="logits"))
    return tf.keras.Sequential(layers)


def next_word(tied: bool = False) -> tf.keras.Model:
    """Makes the word model of Reddi et al. 2021, appendix C.4.

    An embedding of 96, an LSTM of 670, a linear layer back to 96 and logits of
    10,004 ids: 4,050,748 parameters.

    Args:
      tied: True for logits that are products with the embedding's own rows,
        plus a bias (Press and Wolf 2017): 3,090,364 parameters.

    Returns:
      A model from "tokens", int32 [batch, length], to logits, float32 [batch,
      length, 10004], for any length.
    """
    tokens = tf.keras.Input([None], dtype="int32", name="tokens")
    embedding = tf.keras.layers.Embedding(WORD_IDS, 96)
    hidden = tf.keras.layers.LSTM(670, return_sequences=True)(embedding(tokens))
    projected = tf.keras.layers.Dense(96)(hidden)
    if tied:
        logits = TiedLogits(embedding, name="logits")(projected)
    else:
        logits = tf.keras.layers.Dense(WORD_IDS, name="logits")(projected)
    return tf.keras.Model(tokens, logits)


def next_word_tied() -> tf.keras.Model:
    """Makes `next_word` with tied embeddings, for `--model_fn`."""
    return next_word(tied=True)
