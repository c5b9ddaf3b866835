"""Splits texts into words and numbers them, in training and when served."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

Array = npt.NDArray[Any]

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
# Text between words: no letters, marks on letters, digits or apostrophes.
_BETWEEN = r"[^\pL\pM\pN']+"


def split(texts: tf.Tensor) -> tf.RaggedTensor:
    """Splits texts into words in lower case, and drops punctuation.

    Example:
      >>> split(tf.constant(["It's here, isn't it?"])).to_list()
      [[b"it's", b'here', b"isn't", b'it']]

    Args:
      texts: Strings in UTF-8, of shape [n].

    Returns:
      Strings of shape [n, None].
    """
    spaced = tf.strings.regex_replace(
        tf.strings.lower(texts, encoding="utf-8"), _BETWEEN, " "
    )
    return tf.strings.split(spaced)


def most_frequent(names: Array, most: int) -> list[str]:
    """Returns the most frequent names.

    Example:
      >>> most_frequent(np.array(["b", "a", "c", "b"]), 2)
      ['b', 'a']

    Args:
      names: Strings, or bytes in UTF-8, of shape [n].
      most: The largest number of names to return.

    Returns:
      Distinct names, the most frequent first, equally frequent ones in
      alphabetical order.
    """
    counts = pd.Series(names).value_counts(sort=False)
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    return [
        name.decode() if isinstance(name, bytes) else str(name)
        for name in counts.index[:most]
    ]


@dataclasses.dataclass(frozen=True)
class WordTexts:
    """Texts as numbers of distinct words, so that each word is looked up once.

    Attributes:
      distinct: The distinct words as bytes in UTF-8, of shape [m].
      texts: For each text an int array, the places of its words in `distinct`.
    """

    distinct: Array
    texts: list[Array]

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> "WordTexts":
        """Splits texts into words.

        Args:
          texts: At least one text.
        """
        words = split(tf.constant(list(texts)))
        numbers, distinct = pd.factorize(words.flat_values.numpy())
        return cls(distinct, np.split(numbers, words.row_splits[1:-1].numpy()))

    def vocabulary(self, chosen: Array, most: int) -> list[str]:
        """Returns the most frequent words of chosen texts.

        Args:
          chosen: bool of shape [texts], true for the texts to count.
          most: The largest number of words to return.
        """
        parts = [text for text, use in zip(self.texts, chosen) if use]
        return most_frequent(self.distinct[np.concatenate(parts)], most)

    def ids(self, vocabulary: Sequence[str]) -> list[Array]:
        """Numbers the words of each text.

        Ids are those of `tf.keras.layers.StringLookup` with an empty mask
        token.

        Args:
          vocabulary: The words with an id, `FIRST_WORD` for the first.

        Returns:
          For each text an int32 array of ids, `UNKNOWN` for words that are not
          in the vocabulary.
        """
        known = {
            word.encode(): number
            for number, word in enumerate(vocabulary, start=FIRST_WORD)
        }
        ids = np.array(
            [known.get(word, UNKNOWN) for word in self.distinct], np.int32
        )
        return [ids[text] for text in self.texts]
