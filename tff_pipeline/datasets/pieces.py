"""Turns words and sentences into the pieces that an encoder such as BERT reads.

An encoder begins and ends every text with tokens of its own, such as [CLS] and
[SEP], which are the tokenizer's `begin` and `end`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.packing import Cut
from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.datasets.tokenizer import Tokenizer, Words

Array = npt.NDArray[Any]


class Pieces(NamedTuple):
    """Pieces of sentences' words.

    Attributes:
      x: int32 [sentences, length], ids, filled up with the padding id.
      words: int32 [sentences, length], at the first piece of each word its
        number, from 1, and 0 at all other places.
      cut: The number of sentences that were shortened, and of words (as its
        tokens) that these lost.
    """

    x: Array
    words: Array
    cut: Cut


def word_pieces(
    sentences: Sequence[Sequence[str]], tokenizer: Tokenizer, length: int
) -> Pieces:
    """Tokenizes sentences that are words already, as for named entities.

    A word of which the tokenizer leaves nothing, such as a control character,
    becomes its unknown token (its padding, if it has none), so that no word is
    without a piece.

    Args:
      sentences: The words of each sentence.
      tokenizer: The encoder's tokenizer.
      length: The number of tokens that a row holds, at least 3, with those
        that begin and end it. Words of which not all pieces fit are left out.

    Returns:
      The pieces.
    """
    begin, end = _ends(tokenizer)
    room = length - len(begin) - len(end)
    x = np.full([len(sentences), length], tokenizer.padding, np.int32)
    numbers = np.zeros([len(sentences), length], np.int32)
    cut = Cut()
    encoded = tokenizer.encode_words(sentences)
    unknown = tokenizer.unknown
    fill = tokenizer.padding if unknown is None else unknown
    for row, number, words, pieces in zip(x, numbers, sentences, encoded):
        ids, firsts = _with_all(pieces, len(words), fill)
        bounds = np.append(firsts, len(ids))
        kept = int(np.searchsorted(bounds[1:], room, "right"))
        filled = np.r_[begin, ids[: bounds[kept]], end]
        row[: len(filled)] = filled
        number[len(begin) + firsts[:kept]] = np.arange(kept) + 1
        if lost := len(words) - kept:
            cut += Cut(documents=1, tokens=lost)
    return Pieces(x, numbers, cut)


def piece_labels(words: Array, labels: Iterable[Sequence[int]]) -> Array:
    """Labels the first piece of each word, as a word is labelled but once.

    Example:
      >>> words = np.array([[0, 1, 0, 2, 0], [0, 1, 0, 0, 0]])
      >>> piece_labels(words, [[5, 6], [7]]).tolist()
      [[0, 5, 0, 6, 0], [0, 7, 0, 0, 0]]

    Args:
      words: See `Pieces`, int [sentences, length].
      labels: For each sentence the labels of its words, above `PADDING`; labels
        of words that did not fit are not used.

    Returns:
      int32 [sentences, length], `PADDING` where no word begins.
    """
    found = np.zeros(words.shape, np.int32)
    for row, number, own in zip(found, words, labels):
        row[:] = np.r_[PADDING, own].astype(np.int32)[number]
    return found


def sentences(
    texts: Sequence[str], tokenizer: Tokenizer, length: int
) -> tuple[Array, Cut]:
    """Tokenizes whole texts, as for their classification.

    Args:
      texts: The texts.
      tokenizer: The encoder's tokenizer.
      length: The number of tokens that a row holds, at least 3, with those
        that begin and end it; longer texts lose their last.

    Returns:
      (x, cut): int32 [texts, length], filled up with the padding id; and the
      number of texts that were shortened and of tokens that these lost.
    """
    begin, end = _ends(tokenizer)
    room = length - len(begin) - len(end)
    x = np.full([len(texts), length], tokenizer.padding, np.int32)
    cut = Cut()
    for row, ids in zip(x, tokenizer.encode_batch(texts)):
        filled = np.r_[begin, ids[:room], end]
        row[: len(filled)] = filled
        if len(ids) > room:
            cut += Cut(documents=1, tokens=len(ids) - room)
    return x, cut


def _ends(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    begin = [] if tokenizer.begin is None else [tokenizer.begin]
    end = [] if tokenizer.end is None else [tokenizer.end]
    return begin, end


def _with_all(pieces: Words, count: int, fill: int) -> tuple[Array, Array]:
    """Gives words that have no piece the piece `fill`.

    Returns:
      (ids, firsts): the pieces of all `count` words, and where each begins.
    """
    missing = np.setdiff1d(np.arange(count), pieces.words)
    ids = np.r_[pieces.ids, [fill] * len(missing)].astype(np.int32)
    words = np.r_[pieces.words, missing].astype(np.int32)
    order = np.argsort(words, kind="stable")
    return ids[order], np.searchsorted(words[order], np.arange(count))
