"""Turns clients' texts into windows of tokens for a language model."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Optional, Protocol

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets import packing
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.packing import Cut, Document
from tff_pipeline.datasets.shakespeare import Role
from tff_pipeline.datasets.stackexchange import Post

Array = npt.NDArray[Any]

# (client's name, its texts), and (client's name, its documents).
ClientTexts = tuple[str, Sequence[str]]
ClientDocuments = tuple[str, Sequence[Document]]


class TextTokenizer(Protocol):
    """Turns text into tokens: `Tokenizer` or `CharacterTokenizer`.

    Attributes:
      begin: The id that begins a text; `None` if texts have no beginning.
      end: The id that ends a text, or parts two texts; `None` if there is none.
      padding: The id that fills up windows.
      symbols: The text of each id, as UTF-8; b"" of ids that stand for none.
      characters: int32 [vocabulary], the number of characters of each id.
    """

    begin: Optional[int]
    end: Optional[int]
    padding: int
    symbols: list[bytes]
    characters: Array

    def encode(self, text: str) -> Array: ...

    def encode_batch(self, texts: Iterable[str]) -> list[Array]: ...

    def decode(self, ids: Iterable[int]) -> str: ...


def decoded(
    tokenizer: TextTokenizer, before: Sequence[int], added: Sequence[int]
) -> str:
    """Returns the text that ids add to others.

    Tokenizers such as Llama 2's take the space off a text's first word, which
    is not to be lost between the two.

    Args:
      tokenizer: The tokenizer.
      before: The ids of the text so far.
      added: The ids that follow.
    """
    old = tokenizer.decode(before)
    whole = tokenizer.decode([*before, *added])
    # It does not where a character's bytes lie on both sides.
    if whole.startswith(old):
        return whole[len(old) :]
    return tokenizer.decode(added)


def role_texts(roles: Iterable[Role], part: str) -> list[ClientTexts]:
    r"""Returns what each role of Shakespeare says, as one text.

    Example:
      >>> role_texts([Role("ROMEO", ["Ay me.", "What,\nho!"], [])], "train")
      [('ROMEO', ['Ay me.\nWhat,\nho!'])]

    Args:
      roles: The roles.
      part: "train" or "test".

    Returns:
      For each role the text of its speeches, joined by newlines; roles without
      any in this part are left out.
    """
    parts = ((role.name, getattr(role, part)) for role in roles)
    return [
        (name, ["\n".join(speeches)]) for name, speeches in parts if speeches
    ]


def post_texts(posts: Iterable[Post]) -> list[ClientTexts]:
    """Returns the posts of each user of Stack Exchange, each a text.

    Args:
      posts: Posts, a user's beside each other.
    """
    return [
        (client, [post.text for post in own])
        for client, own in itertools.groupby(posts, lambda post: post.client)
    ]


def text_documents(
    clients: Iterable[ClientTexts], tokenizer: TextTokenizer
) -> list[ClientDocuments]:
    """Turns texts into documents, all of whose text is to be predicted.

    Args:
      clients: The clients' texts.
      tokenizer: The tokenizer. A document begins with its `begin`, which is
        not predicted, if it has one.

    Returns:
      The clients with a document of each text.
    """
    clients = list(clients)
    flat = [text for _, texts in clients for text in texts]
    encoded = iter(tokenizer.encode_batch(flat))
    begin = [] if tokenizer.begin is None else [tokenizer.begin]

    def document(ids: Array) -> Document:
        weights = np.ones(len(begin) + len(ids), np.float32)
        weights[: len(begin)] = 0
        return Document(np.r_[begin, ids].astype(np.int32), weights)

    return [
        (client, [document(next(encoded)) for _ in texts])
        for client, texts in clients
    ]


def client_windows(
    clients: Iterable[ClientDocuments],
    tokenizer: TextTokenizer,
    length: int,
    *,
    ends: bool = True,
) -> tuple[Examples, Array]:
    """Packs each client's documents into windows; see `packing.pack`.

    Args:
      clients: The clients' documents, of at least one client.
      tokenizer: The tokenizer that they come from.
      length: The number of tokens that a window predicts, at least 1.
      ends: Whether the tokenizer's `end` goes between two documents, which is
        predicted; false for documents with their own ends, such as chats.

    Returns:
      (windows, owners): the windows of all clients in order, and str [n], the
      client of each. A client with fewer than two tokens has none.
    """
    return _joined(
        (
            client,
            packing.pack(
                documents,
                length,
                characters=tokenizer.characters,
                padding=tokenizer.padding,
                end=tokenizer.end if ends else None,
            ),
        )
        for client, documents in clients
    )


def client_rows(
    clients: Iterable[ClientDocuments], tokenizer: TextTokenizer, length: int
) -> tuple[Examples, Array, Cut]:
    """Gives each document a window of its own; see `packing.one_a_row`.

    Args:
      clients: The clients' documents, of at least one client.
      tokenizer: The tokenizer that they come from.
      length: The number of tokens that a window predicts, at least 1.

    Returns:
      (windows, owners, cut): the windows of all clients in order; str [n], the
      client of each; and what did not fit.
    """
    cuts = []

    def rows(documents: Sequence[Document]) -> Examples:
        examples, cut = packing.one_a_row(
            documents,
            length,
            characters=tokenizer.characters,
            padding=tokenizer.padding,
        )
        cuts.append(cut)
        return examples

    windows, owners = _joined((client, rows(own)) for client, own in clients)
    return windows, owners, sum(cuts, Cut())


def _joined(parts: Iterable[tuple[str, Examples]]) -> tuple[Examples, Array]:
    parts = list(parts)
    owners = np.repeat(
        np.array([client for client, _ in parts], str),
        [len(examples) for _, examples in parts],
    )
    return Examples(
        np.concatenate([examples.x for _, examples in parts]),
        np.concatenate([examples.y for _, examples in parts]),
    ), owners
