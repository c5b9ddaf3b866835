"""Taggers of words in sentences: a char-CNN and a BiLSTM, softmax or CRF.

Ma and Hovy 2016, "End-to-end Sequence Labeling via Bi-directional
LSTM-CNNs-CRF", section 2 and table 1. A token is the ids of its word and of its
characters, 0 where there is none; tag 0 is the tag of padding.
"""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.models import crf

Array = npt.NDArray[Any]

# The id of a word, or of a character, that is not known.
_UNKNOWN = 1


class TokenIds(tf.keras.layers.Layer):
    """Turns tokens of text into the ids of their words and characters.

    Words are looked up in lower case, so case shows in the characters alone.

    >>> layer = TokenIds(words=["oslo"], characters=["O", "s"], width=3)
    >>> layer(tf.constant([["Oslo", "or", ""]])).numpy().tolist()
    [[[2, 2, 3, 1], [1, 1, 1, 0], [0, 0, 0, 0]]]
    """

    def __init__(
        self, words: Sequence[str], characters: Sequence[str], width: int
    ):
        """Makes the layer.

        Args:
          words: The known words, in lower case; their ids are 2 and up, and 1
            is any other word.
          characters: The known characters; their ids likewise.
          width: The number of characters of a token that count, from its start.
        """
        super().__init__(trainable=False, name="token_ids")
        self._width = width
        self._words = tf.keras.layers.StringLookup(
            vocabulary=words, mask_token=""
        )
        self._characters = tf.keras.layers.StringLookup(
            vocabulary=characters, mask_token=""
        )

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """Returns ids, int32 [batch, length, 1 + width]; 0 for the token "".

        Args:
          tokens: UTF-8 strings [batch, length].
        """
        words = self._words(lower(tokens))
        characters = tf.strings.unicode_split(tokens, "UTF-8").to_tensor(
            shape=[None, None, self._width]
        )
        ids = tf.concat(
            [words[..., tf.newaxis], self._characters(characters)], axis=-1
        )
        return tf.cast(ids, tf.int32)


def lower(tokens: tf.Tensor) -> tf.Tensor:
    """Returns tokens in lower case, the form in which words are looked up.

    Args:
      tokens: UTF-8 strings, of any shape.
    """
    return tf.strings.lower(tokens, encoding="utf-8")


def bilstm(
    num_words: int,
    num_characters: int,
    width: int,
    legal: Array,
    decoder: str = "softmax",
    word_vectors: Optional[Array] = None,
    word_size: int = 50,
    character_size: int = 30,
    filters: int = 50,
    units: int = 100,
    dropout: float = 0.5,
    word_dropout: float = 0.2,
) -> tf.keras.Model:
    """Makes a char-CNN beside word embeddings, a BiLSTM, and tags of tokens.

    Args:
      num_words: The number of word ids, which lie below it.
      num_characters: The number of character ids, which lie below it.
      width: The number of character ids of a token.
      legal: bool [tags, tags]: true where the second tag may follow the first;
        from tag 0, where it may come first. Only the CRF heeds it.
      decoder: "softmax" or "crf".
      word_vectors: The word embedding to begin with, float32 [num_words, size];
        by default it is random, of `word_size`.
      word_size: The size of a word's embedding.
      character_size: The size of a character's embedding.
      filters: The number of filters of the char-CNN, over three characters
        each.
      units: Units of the LSTM in each direction.
      dropout: The dropout rate of tokens' features and of the LSTM's, 0 to 1.
      word_dropout: The share of words that training takes for unknown, 0 to 1.

    Returns:
      A model from "ids", int32 [batch, length, 1 + width], to what `decode`
      takes: float32, logits [batch, length, tags], or with a CRF its potentials
      [batch, length, tags, tags]. Where there is no word, tag 0 is certain;
      elsewhere it is impossible.
    """
    inputs = tf.keras.Input([None, 1 + width], dtype="int32", name="ids")
    ids = _WithoutPadding(name="shortened")(inputs)
    if word_vectors is not None:
        word_size = word_vectors.shape[-1]
        initializer: Any = tf.keras.initializers.Constant(word_vectors)
    else:
        initializer = "uniform"
    words = tf.keras.layers.Embedding(
        num_words, word_size, initializer, name="words"
    )(_WordDropout(word_dropout, name="word_dropout")(ids[:, :, 0]))
    characters = tf.keras.layers.Embedding(
        num_characters, character_size, name="characters"
    )(ids[:, :, 1:])
    shapes = tf.keras.layers.Conv1D(
        filters, 3, padding="same", activation="relu", name="char_cnn"
    )(characters)
    features = tf.keras.layers.Concatenate()(
        [words, tf.reduce_max(shapes, axis=-2)]
    )
    features = tf.keras.layers.Dropout(dropout)(features)
    features = _BiLSTM(units, name="bilstm")([features, ids])
    features = tf.keras.layers.Dropout(dropout)(features)
    scores = tf.keras.layers.Dense(len(legal), name="scores")(features)
    if decoder == "crf":
        outputs = _Potentials(legal, name="potentials")([scores, inputs])
    else:
        outputs = _Logits(name="logits")([scores, inputs])
    return tf.keras.Model(inputs, outputs)


def decode(outputs: tf.Tensor) -> tf.Tensor:
    """Returns the best tags.

    Args:
      outputs: What a model of `bilstm` puts out: logits, of which each token
        gets its best tag on its own, or a CRF's potentials, of which a sentence
        gets the best sequence.

    Returns:
      int32 [batch, length].
    """
    if outputs.shape.rank == 4:
        return crf.viterbi(outputs)
    return tf.argmax(outputs, axis=-1, output_type=tf.int32)


def _is_word(ids: tf.Tensor) -> tf.Tensor:
    # In TFF's graphs != of tensors compares objects.
    return tf.not_equal(ids[..., 0], 0)


def _lengths(ids: tf.Tensor) -> tf.Tensor:
    """Returns where each sentence's last word ends, int32 [batch]."""
    positions = tf.range(1, tf.shape(ids)[1] + 1)
    return tf.reduce_max(positions * tf.cast(_is_word(ids), tf.int32), -1)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _WithoutPadding(tf.keras.layers.Layer):
    """Cuts ids to the longest sentence of the batch."""

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return ids[:, : tf.maximum(tf.reduce_max(_lengths(ids)), 1)]


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _WordDropout(tf.keras.layers.Layer):
    """Takes some words for unknown in training; their characters stay.

    A word that is rare in training is nearly always known there, and much more
    often unknown in a test: so the model learns to do without it.
    """

    def __init__(self, rate: float, **options: Any):
        super().__init__(**options)
        self._rate = rate
        # Not a draw of our own, for Keras' layers draw by client and round.
        self._dropout = tf.keras.layers.Dropout(rate, name="dropout")

    def call(self, words: tf.Tensor) -> tf.Tensor:
        """Returns ids of words, int32 [batch, length], some of them unknown."""
        kept = self._dropout(tf.cast(tf.not_equal(words, 0), tf.float32))
        return tf.where(
            tf.logical_and(tf.equal(kept, 0.0), tf.not_equal(words, 0)),
            _UNKNOWN,
            words,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "rate": self._rate}


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _BiLSTM(tf.keras.layers.Layer):
    """An LSTM from the first word on, and one from the last word back.

    Sentences are reversed where they end. So padding comes after the words in
    both directions, and no step has to be masked.
    """

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self._units = units
        self._forward, self._backward = (
            tf.keras.layers.LSTM(units, return_sequences=True, name=name)
            for name in ("forward", "backward")
        )

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns float32 [batch, length, 2 * units] from (features, ids)."""
        features, ids = inputs
        lengths = _lengths(ids)[:, tf.newaxis]
        here = tf.range(tf.shape(features)[1])
        # Not `tf.reverse_sequence`, which browsers and 8 bits do not know.
        places = tf.where(here < lengths, lengths - 1 - here, here)

        def reverse(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, places, batch_dims=1)

        backward = reverse(self._backward(reverse(features)))
        return tf.concat([self._forward(features), backward], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "units": self._units}


def _padded(scores: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns scores as long as ids again, and true where there is a word."""
    missing = tf.shape(ids)[1] - tf.shape(scores)[1]
    scores = tf.pad(scores, [[0, 0], [0, missing], [0, 0]])
    # Evaluation takes as many sentences at once as their outputs allow.
    scores.set_shape([None, ids.shape[1], None])
    return scores, _is_word(ids)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _Logits(tf.keras.layers.Layer):
    """Turns scores of tags into logits; tag 0 is for padding and it alone."""

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        scores, is_word = _padded(*inputs)
        is_padding = np.arange(scores.shape[-1]) == 0
        possible = tf.not_equal(is_word[..., tf.newaxis], is_padding)
        return tf.where(possible, scores, crf.IMPOSSIBLE)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _Potentials(tf.keras.layers.Layer):
    """Turns scores of tags into a CRF's potentials.

    Tag 0 is for padding alone. Transitions that are not legal stay impossible.
    A transition from tag 0 scores a sentence's first tag; its last has no
    score.
    """

    def __init__(self, legal: Any, **options: Any):
        super().__init__(**options)
        self._legal = np.asarray(legal, bool)

    def build(self, _: Any) -> None:
        self._transitions = self.add_weight(
            "transitions", self._legal.shape, initializer="zeros"
        )

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        scores, is_word = _padded(*inputs)
        legal = self._legal.copy()
        legal[:, 0] = False
        word_potentials = tf.where(
            legal,
            scores[:, :, tf.newaxis] + self._transitions,
            crf.IMPOSSIBLE,
        )
        to_padding = np.full(legal.shape, crf.IMPOSSIBLE, np.float32)
        to_padding[:, 0] = 0.0
        return tf.where(
            is_word[:, :, tf.newaxis, tf.newaxis], word_potentials, to_padding
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "legal": self._legal.tolist()}
