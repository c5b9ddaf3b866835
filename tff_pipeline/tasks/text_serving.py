"""Models that take text, made of trained models that take ids of tokens."""

from collections.abc import Callable, Sequence
from typing import Optional

import tensorflow as tf

from tff_pipeline.datasets import words
from tff_pipeline.datasets.characters import Alphabet
from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.runtime import compat

# Strings [batch] -> int32 ids [batch, None].
Encode = Callable[[tf.Tensor], tf.RaggedTensor]


class NextToken(tf.keras.layers.Layer):
    """Predicts what follows a text, by a trained model of windows of tokens."""

    def __init__(self, model: tf.keras.Model, encode: Encode, length: int):
        """Makes the layer.

        Args:
          model: The trained model, from ids [batch, length] to logits of each
            next token.
          encode: Turns texts into ids.
          length: The number of last tokens that are read, as many as in
            training.
        """
        super().__init__()
        self._model = model
        self._encode = encode
        self._length = length

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.Tensor:
        """Returns logits of the next token, float32 [batch, ids].

        Args:
          text: Strings [batch].
        """
        ids = self._encode(text)[:, -self._length :]
        logits = self._model(ids.to_tensor(PADDING), training=False)
        return tf.gather(logits, ids.row_lengths() - 1, batch_dims=1)


class WholeText(tf.keras.layers.Layer):
    """Classifies texts, by a trained model of all their tokens."""

    def __init__(self, model: tf.keras.Model, encode: Encode):
        """Makes the layer.

        Args:
          model: The trained model, from ids [batch, length] to logits.
          encode: Turns texts into ids.
        """
        super().__init__()
        self._model = model
        self._encode = encode

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [batch, labels].

        Args:
          text: Strings [batch].
        """
        ids = self._encode(text).to_tensor(PADDING)
        return self._model(ids, training=False)


class CharacterIds(tf.keras.layers.Layer):
    """Turns texts into an alphabet's ids; texts are begun, but not ended."""

    def __init__(self, alphabet: Alphabet):
        """Makes the layer.

        Args:
          alphabet: The alphabet, whose `encode` the layer repeats in a graph.
        """
        super().__init__()
        self._alphabet = alphabet

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns ids, int32 [batch, None].

        Args:
          text: UTF-8 strings [batch].
        """
        encoding = {"utf-8": "UTF-8", "latin-1": "ISO-8859-1"}
        points = tf.strings.unicode_decode(
            text, encoding[self._alphabet.encoding]
        )
        known = tf.constant(self._alphabet.ids, tf.int32)
        last = len(self._alphabet.ids) - 1
        ids = points.with_flat_values(
            tf.gather(known, tf.minimum(points.flat_values, last))
        )
        return _begun(ids, self._alphabet.begin)


class WordIds(tf.keras.layers.Layer):
    """Turns texts into a vocabulary's ids of their words."""

    def __init__(self, vocabulary: Sequence[str], begin: Optional[int] = None):
        """Makes the layer.

        Args:
          vocabulary: The known words, numbered as in `WordTexts.ids`.
          begin: An id that goes before each text; `None` for no such id.
        """
        super().__init__()
        self._lookup = tf.keras.layers.StringLookup(
            vocabulary=list(vocabulary), mask_token=""
        )
        self._begin = begin

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns ids, int32 [batch, None].

        Args:
          text: UTF-8 strings [batch].
        """
        ids = tf.cast(self._lookup(words.split(text)), tf.int32)
        return ids if self._begin is None else _begun(ids, self._begin)


def _begun(ids: tf.RaggedTensor, begin: int) -> tf.RaggedTensor:
    first = tf.fill([ids.nrows(), 1], begin)
    return tf.concat([tf.cast(first, tf.int32), ids], axis=1)


def text_model(layer: tf.keras.layers.Layer) -> tf.keras.Model:
    """Makes a model from "text", strings [batch], to a layer's output.

    Args:
      layer: Takes strings [batch].
    """
    text = tf.keras.Input([], dtype="string", name="text")
    return tf.keras.Model(text, layer(text))
