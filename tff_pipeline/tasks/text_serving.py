"""Models that take text, made of trained ones that take ids of tokens."""

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
    """What a trained model expects after a text."""

    def __init__(self, model: tf.keras.Model, encode: Encode, length: int):
        """Reads the last `length` tokens, as many as the model learned from."""
        super().__init__()
        self._model = model
        self._encode = encode
        self._length = length

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.Tensor:
        """Strings [batch] to logits, float32 [batch, ids]."""
        ids = self._encode(text)[:, -self._length :]
        logits = self._model(ids.to_tensor(PADDING), training=False)
        return tf.gather(logits, ids.row_lengths() - 1, batch_dims=1)


class WholeText(tf.keras.layers.Layer):
    """What a trained model makes of a text."""

    def __init__(self, model: tf.keras.Model, encode: Encode):
        """Reads all of a text."""
        super().__init__()
        self._model = model
        self._encode = encode

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.Tensor:
        """Strings [batch] to logits, float32 [batch, labels]."""
        ids = self._encode(text).to_tensor(PADDING)
        return self._model(ids, training=False)


class CharacterIds(tf.keras.layers.Layer):
    """An alphabet's ids of texts that go on: begun, not ended."""

    def __init__(self, alphabet: Alphabet):
        """Encodes as `alphabet` does."""
        super().__init__()
        self._alphabet = alphabet

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings [batch] to int32 [batch, None]."""
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
    """A vocabulary's ids of the words of texts."""

    def __init__(self, vocabulary: Sequence[str], begin: Optional[int] = None):
        """Numbers as `WordTexts.ids` does, after `begin`, if it is given."""
        super().__init__()
        self._lookup = tf.keras.layers.StringLookup(
            vocabulary=list(vocabulary), mask_token=""
        )
        self._begin = begin

    @compat.plain
    def call(self, text: tf.Tensor) -> tf.RaggedTensor:
        """UTF-8 strings [batch] to int32 [batch, None]."""
        ids = tf.cast(self._lookup(words.split(text)), tf.int32)
        return ids if self._begin is None else _begun(ids, self._begin)


def _begun(ids: tf.RaggedTensor, begin: int) -> tf.RaggedTensor:
    first = tf.fill([ids.nrows(), 1], begin)
    return tf.concat([tf.cast(first, tf.int32), ids], axis=1)


def taking_text(layer: tf.keras.layers.Layer) -> tf.keras.Model:
    """A model from "text", strings [batch], to what `layer` makes of it."""
    text = tf.keras.Input([], dtype="string", name="text")
    return tf.keras.Model(text, layer(text))
