"""Taggers of words in sentences: a char-CNN and a BiLSTM, softmax or CRF.

Ma and Hovy 2016, "End-to-end Sequence Labeling via Bi-directional
LSTM-CNNs-CRF", section 2 and table 1. A token is the ids of its word and of its
characters, 0 where there is none; tag 0 is no tag, but that of padding.
"""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline.models import crf

# The id of a word, or of a character, that is not known.
_UNKNOWN = 1


class TokenIds(tf.keras.layers.Layer):
    """Tokens as text to the ids of their words and characters.

    Words are looked up in lower case, so case shows in the characters alone.
    """

    def __init__(
        self, words: Sequence[str], characters: Sequence[str], width: int
    ):
        """Takes the known words, in lower case, and the known characters.

        Args:
          words: Their ids are 2 and up; 1 is any other word.
          characters: Likewise.
          width: How many characters of a token count, from its start.
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
        """Ids, int32 [..., 1 + width], of strings [batch, length]; of "", 0."""
        words = self._words(lower(tokens))
        characters = tf.strings.unicode_split(tokens, "UTF-8").to_tensor(
            shape=[None, None, self._width]
        )
        ids = tf.concat(
            [words[..., tf.newaxis], self._characters(characters)], axis=-1
        )
        return tf.cast(ids, tf.int32)


def lower(tokens: tf.Tensor) -> tf.Tensor:
    """Tokens, UTF-8, in lower case: the form in which words are looked up."""
    return tf.strings.lower(tokens, encoding="utf-8")


def bilstm(
    num_words: int,
    num_characters: int,
    width: int,
    legal: np.ndarray,
    decoder: str = "softmax",
    word_vectors: Optional[np.ndarray] = None,
    word_size: int = 50,
    character_size: int = 30,
    filters: int = 50,
    units: int = 100,
    dropout: float = 0.5,
    word_dropout: float = 0.2,
) -> tf.keras.Model:
    """A char-CNN beside word embeddings, a BiLSTM, and a tag for each token.

    Args:
      num_words: Word ids are below it.
      num_characters: Character ids are below it.
      width: Character ids of a token.
      legal: bool [tags, tags], which tag may follow which; from tag 0, which
        may be the first. Only the CRF heeds it.
      decoder: "softmax" or "crf".
      word_vectors: float32 [num_words, any], the word embedding to begin with;
        default random, of `word_size`.
      word_size: Of a word's embedding.
      character_size: Of a character's embedding.
      filters: Of the char-CNN, over three characters each.
      units: Of the LSTM in each direction.
      dropout: Of tokens' features, and of the LSTM's.
      word_dropout: How likely a word is taken for an unknown one in training.

    Returns:
      A model from "ids", int32 [batch, length, 1 + width], to what `decode`
      takes: float32, logits [batch, length, tags], or with a CRF its potentials
      [batch, length, tags, tags]. Where there is no word, tag 0 is certain;
      elsewhere impossible.
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
    """The best tags, int32 [batch, length], of what `bilstm` puts out.

    Of logits, each token's best tag on its own; of a CRF's potentials, the best
    sequence.
    """
    if outputs.shape.rank == 4:
        return crf.viterbi(outputs)
    return tf.argmax(outputs, axis=-1, output_type=tf.int32)


def _is_word(ids: tf.Tensor) -> tf.Tensor:
    # In TFF's graphs != of tensors compares objects.
    return tf.not_equal(ids[..., 0], 0)


def _lengths(ids: tf.Tensor) -> tf.Tensor:
    """Of ids [batch, length, any], where each one's last word ends: [batch]."""
    positions = tf.range(1, tf.shape(ids)[1] + 1)
    return tf.reduce_max(positions * tf.cast(_is_word(ids), tf.int32), -1)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _WithoutPadding(tf.keras.layers.Layer):
    """Cuts ids to the longest sentence of the batch, if only a little."""

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return ids[:, : tf.maximum(tf.reduce_max(_lengths(ids)), 1)]


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _WordDropout(tf.keras.layers.Layer):
    """In training, takes some words for unknown; their characters stay.

    A word that is rare in training is nearly always known there, and much more
    often unknown in a test: so the model learns to do without it.
    """

    def __init__(self, rate: float, **options: Any):
        super().__init__(**options)
        self._rate = rate
        # Not a draw of our own, for Keras' layers draw by client and round.
        self._dropout = tf.keras.layers.Dropout(rate, name="dropout")

    def call(self, words: tf.Tensor) -> tf.Tensor:
        """Ids of words, int32 [batch, length], some of them `_UNKNOWN`."""
        kept = self._dropout(tf.cast(tf.not_equal(words, 0), tf.float32))
        return tf.where(
            tf.logical_and(tf.equal(kept, 0.0), tf.not_equal(words, 0)),
            _UNKNOWN,
            words,
        )

    def get_config(self) -> dict[str, Any]:
        """What makes another one like this."""
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
        """(features [batch, length, any], ids) -> [batch, length, 2 units]."""
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
        """What makes another one like this."""
        return {**super().get_config(), "units": self._units}


def _padded(scores: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores as long as ids again, and which are of words: [batch, length]."""
    missing = tf.shape(ids)[1] - tf.shape(scores)[1]
    scores = tf.pad(scores, [[0, 0], [0, missing], [0, 0]])
    return scores, _is_word(ids)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _Logits(tf.keras.layers.Layer):
    """Scores of tags as logits; tag 0 for padding, and for it alone."""

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        scores, is_word = _padded(*inputs)
        is_padding = np.arange(scores.shape[-1]) == 0
        possible = tf.not_equal(is_word[..., tf.newaxis], is_padding)
        return tf.where(possible, scores, crf.IMPOSSIBLE)


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class _Potentials(tf.keras.layers.Layer):
    """Scores of tags as a CRF's potentials; tag 0 for padding likewise.

    Transitions that are not legal stay impossible. From and to tag 0, there are
    scores of a sentence's first tag, and none of its last.
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
        of_word = tf.where(
            legal,
            scores[:, :, tf.newaxis] + self._transitions,
            crf.IMPOSSIBLE,
        )
        to_padding = np.full(legal.shape, crf.IMPOSSIBLE, np.float32)
        to_padding[:, 0] = 0.0
        return tf.where(
            is_word[:, :, tf.newaxis, tf.newaxis], of_word, to_padding
        )

    def get_config(self) -> dict[str, Any]:
        """What makes another one like this."""
        return {**super().get_config(), "legal": self._legal.tolist()}
