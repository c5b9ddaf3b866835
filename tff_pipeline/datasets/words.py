"""Words of texts and their ids, in training and in a served model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

Array = npt.NDArray[Any]

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
# All that is between words: neither letter, nor mark on one, digit, apostrophe.
_BETWEEN = r"[^\pL\pM\pN']+"


def split(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of texts in small letters; punctuation is dropped.

    Args:
      texts: UTF-8 strings, of shape [n].

    Returns:
      Strings, of shape [n, None].
    """
    spaced = tf.strings.regex_replace(
        tf.strings.lower(texts, encoding="utf-8"), _BETWEEN, " "
    )
    return tf.strings.split(spaced)


def most_frequent(names: Array, most: int) -> list[str]:
    """The most frequent of `names`, those as frequent in the alphabet's order.

    Args:
      names: Of shape [n], strings or bytes of UTF-8.
      most: How many to return, at most.
    """
    counts = pd.Series(names).value_counts(sort=False)
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    return [
        name.decode() if isinstance(name, bytes) else str(name)
        for name in counts.index[:most]
    ]


@dataclasses.dataclass(frozen=True)
class WordTexts:
    """Texts as numbers of distinct words, so that each is looked up once.

    Attributes:
      distinct: bytes objects, of shape [m]: the distinct words.
      texts: An int array a text, of indices into `distinct`.
    """

    distinct: Array
    texts: list[Array]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordTexts":
        """Splits texts, of which there is at least one."""
        words = split(tf.constant(list(texts)))
        numbers, distinct = pd.factorize(words.flat_values.numpy())
        return cls(distinct, np.split(numbers, words.row_splits[1:-1].numpy()))

    def vocabulary(self, chosen: Array, most: int) -> list[str]:
        """The most frequent words of some texts.

        Args:
          chosen: bool, of shape [texts].
          most: How many to return, at most.
        """
        parts = [text for text, use in zip(self.texts, chosen) if use]
        return most_frequent(self.distinct[np.concatenate(parts)], most)

    def ids(self, vocabulary: Sequence[str]) -> list[Array]:
        """Each text's ids, int32: `FIRST_WORD` and on, or `UNKNOWN`.

        The same as of `tf.keras.layers.StringLookup` with an empty mask token.
        """
        known = {
            word.encode(): number
            for number, word in enumerate(vocabulary, start=FIRST_WORD)
        }
        ids = np.array(
            [known.get(word, UNKNOWN) for word in self.distinct], np.int32
        )
        return [ids[text] for text in self.texts]
