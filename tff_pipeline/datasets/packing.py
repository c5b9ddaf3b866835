"""Cuts a client's documents of tokens into windows for a language model.

A window has the tokens x, int32 [length + 1], and for each but the first what
it counts, y, float32 [length, 2]: for the token x[t + 1], y[t, 0] is its weight
in the loss, 0 if it is not to be predicted, and y[t, 1] the number of
characters that it stands for, 0 where the weight is. Their sums over any set of
windows give the loss of a token and the bits of a character, exactly.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation.federated_data import Examples

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Document:
    """Tokens of a text, or of a chat.

    Attributes:
      ids: int32 [t].
      weights: float32 [t], the weight in the loss of each token, where it is
        predicted; 0 for those that are only read, such as a prompt's.

    Raises:
      ValueError: If there are not as many ids as weights.
    """

    ids: Array
    weights: Array

    def __post_init__(self) -> None:
        if self.ids.shape != self.weights.shape:
            raise ValueError(
                f"There are ids of shape {self.ids.shape} but weights of "
                f"{self.weights.shape}."
            )

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Cut:
    """What did not fit into windows.

    Attributes:
      documents: The number of documents that were shortened.
      tokens: The number of tokens that these lost.
      left_out: The number of documents that are left out, as no token that is
        to be predicted fits, or is there at all.
    """

    documents: int = 0
    tokens: int = 0
    left_out: int = 0

    def __add__(self, other: "Cut") -> "Cut":
        return Cut(
            self.documents + other.documents,
            self.tokens + other.tokens,
            self.left_out + other.left_out,
        )

    def describe(self, what: str = "document", unit: str = "token") -> str:
        """Returns a sentence that says what did not fit; "" if all did.

        Example:
          >>> Cut(2, 31, 1).describe("example")
          '2 examples lost 31 tokens that did not fit, and 1 is left out.'

        Args:
          what: What a document is, a noun in the singular.
          unit: What a token is.
        """
        parts = []
        if self.documents:
            parts.append(
                f"{_count(self.documents, what)} lost "
                f"{_count(self.tokens, unit)} that did not fit"
            )
        if self.left_out:
            left = str(self.left_out) if parts else _count(self.left_out, what)
            parts.append(
                f"{left} {'is' if self.left_out == 1 else 'are'} left out"
            )
        return f"{', and '.join(parts)}." if parts else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def truncate(
    documents: Sequence[Document], length: int
) -> tuple[list[Document], Cut]:
    """Shortens documents to what one window holds.

    Args:
      documents: The documents.
      length: The number of tokens that a window predicts, at least 1.

    Returns:
      (documents, cut): the first `length` + 1 tokens of each, without those of
      which then no token is to be predicted; and what was lost.
    """
    kept, cut = [], Cut()
    for document in documents:
        fits = Document(
            document.ids[: length + 1], document.weights[: length + 1]
        )
        if not np.any(fits.weights[1:] > 0):
            cut += Cut(left_out=1)
            continue
        kept.append(fits)
        if lost := len(document) - len(fits):
            cut += Cut(documents=1, tokens=lost)
    return kept, cut


def pack(
    documents: Sequence[Document],
    length: int,
    *,
    characters: Array,
    padding: int,
    end: Optional[int] = None,
) -> Examples:
    """Joins documents and cuts them into windows that overlap by one token.

    Every token but the very first is predicted in exactly one window, if its
    weight is above 0, by all tokens before it in the window, those of other
    documents too.

    Example:
      >>> texts = [Document(np.arange(5, 5 + n), np.ones(n)) for n in (2, 1)]
      >>> cut = pack(texts, 2, characters=np.ones(9), padding=0, end=1)
      >>> cut.x.tolist()
      [[5, 6, 1], [1, 5, 0]]
      >>> cut.y[:, :, 0].tolist()
      [[1.0, 1.0], [1.0, 0.0]]

    Args:
      documents: A client's documents.
      length: The number of tokens that a window predicts, at least 1.
      characters: int [vocabulary], the number of characters of each id.
      padding: The id that fills up the last window, with weight 0.
      end: The id between two documents, which is predicted too; `None` if
        documents have their own ends.

    Returns:
      The windows, see this module; windows of which no token is to be predicted
      are left out, so that fewer than two tokens give none.
    """
    ids: list[Array] = []
    weights: list[Array] = []
    for document in documents:
        if not len(document):
            continue
        if ids and end is not None:
            ids.append(np.array([end]))
            weights.append(np.ones(1))
        ids.append(document.ids)
        weights.append(document.weights)
    size = sum(map(len, ids))
    count = max(0, -(-(size - 1) // length))
    all_ids = np.full(count * length + 1, padding, np.int32)
    all_weights = np.zeros(count * length + 1, np.float32)
    if count:
        all_ids[:size] = np.concatenate(ids)
        all_weights[:size] = np.concatenate(weights)
    starts = np.arange(count)[:, np.newaxis] * length
    places = starts + np.arange(length + 1)
    return _counted(all_ids[places], all_weights[places], characters)


def one_a_row(
    documents: Sequence[Document],
    length: int,
    *,
    characters: Array,
    padding: int,
) -> tuple[Examples, Cut]:
    """Gives each document a window of its own; long ones are truncated.

    Example:
      >>> texts = [Document(np.arange(n), np.ones(n)) for n in (2, 5)]
      >>> rows, cut = one_a_row(texts, 2, characters=np.ones(9), padding=8)
      >>> rows.x.tolist(), cut
      ([[0, 1, 8], [0, 1, 2]], Cut(documents=1, tokens=2, left_out=0))

    Args:
      documents: The documents.
      length: The number of tokens that a window predicts, at least 1.
      characters: int [vocabulary], the number of characters of each id.
      padding: The id that fills up short documents, with weight 0.

    Returns:
      (windows, cut): one window a document, without those of which no token
      that is to be predicted fits; and what was lost.
    """
    kept, cut = truncate(documents, length)
    ids = np.full([len(kept), length + 1], padding, np.int32)
    weights = np.zeros([len(kept), length + 1], np.float32)
    for row, weight, document in zip(ids, weights, kept):
        row[: len(document)] = document.ids
        weight[: len(document)] = document.weights
    return _counted(ids, weights, characters), cut


def _counted(ids: Array, weights: Array, characters: Array) -> Examples:
    """Makes windows of ids and weights of shape [n, length + 1]."""
    targets, weights = ids[:, 1:], weights[:, 1:]
    counts = np.where(weights > 0, characters[targets], 0)
    y = np.stack([weights, counts], axis=-1).astype(np.float32)
    used = np.any(weights > 0, axis=1)
    return Examples(ids[used], y[used])
