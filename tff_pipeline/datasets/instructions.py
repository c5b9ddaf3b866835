"""Turns clients' instructions into documents to tune a language model on."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.datasets import packing, stackexchange
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.packing import Cut, Document
from tff_pipeline.datasets.readers import instructions
from tff_pipeline.datasets.readers.instructions import Instruction

ClientDocuments = list[tuple[str, list[Document]]]


@dataclasses.dataclass(frozen=True)
class Instructions:
    """Documents of clients, of whose chats the answers are to be predicted.

    Attributes:
      train: (client's name, its documents) of each client, to train on.
      test: The same, to test on.
      validation: The same, to choose on; `None` if no file has such.
      cut: What did not fit, of all documents.
    """

    train: ClientDocuments
    test: ClientDocuments
    validation: Optional[ClientDocuments]
    cut: Cut


def load(
    data_dir: str, task: str, chat: Chat, length: Optional[int]
) -> Instructions:
    """Reads instructions and writes them as a base's chats.

    Where no file is to test on by its name or folder (see `json_files.find`),
    the last fifth of each client's examples is, rounded down but at least one,
    and none of a client with only one.

    Args:
      data_dir: The file or folder; see `readers.instructions.read`.
      task: The task's name, for errors.
      chat: The base's template and tokenizer.
      length: The number of tokens that a window predicts, to which documents
        are truncated; `None` if they are to be packed and lose nothing.

    Returns:
      The documents. Clients are in the order of their names, and none is
      without a document. Documents none of whose answer fits are left out.

    Raises:
      DataError: If a file is missing or damaged, or has an example that cannot
        be learned from, or no answer fits into a window.
    """
    examples = list(instructions.read(data_dir))
    splits = np.array([example.split for example in examples])
    if not np.any(splits == "test"):
        owners = np.array([example.client for example in examples])
        training = np.flatnonzero(splits == "train")
        splits[training[stackexchange.held_out(owners[training])]] = "test"
    parts, cut = {}, Cut()
    for split in ("train", "test", "validation"):
        chosen = np.flatnonzero(splits == split)
        parts[split], lost = _documents(
            [examples[number] for number in chosen], chat, length
        )
        cut += lost
        if split != "validation" and not parts[split]:
            fits = f" whose answer begins within {length} tokens"
            raise errors.DataError(
                f"--data_dir={data_dir} has no example to {split} on for "
                f"--task={task}{fits if len(chosen) else ''}; give more "
                "examples, or shorter prompts."
            )
    has_validation = np.any(splits == "validation")
    return Instructions(
        parts["train"],
        parts["test"],
        parts["validation"] if has_validation else None,
        cut,
    )


def _documents(
    examples: Iterable[Instruction], chat: Chat, length: Optional[int]
) -> tuple[ClientDocuments, Cut]:
    clients: dict[str, list[Document]] = {}
    for example in examples:
        document = chat.document(example.messages, example.where)
        clients.setdefault(example.client, []).append(document)
    found, cut = [], Cut()
    for client, documents in sorted(clients.items()):
        kept, lost = _fitting(documents, length)
        cut += lost
        if kept:
            found.append((client, kept))
    return found, cut


def _fitting(
    documents: Sequence[Document], length: Optional[int]
) -> tuple[list[Document], Cut]:
    if length is None:
        return list(documents), Cut()
    return packing.truncate(documents, length)
