"""Reads named entities from column files, as in the CoNLL-2003 shared task.

`column_file` reads a file; here its sentences are assigned to clients and
divided into training and test sentences.

Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared
Task"; Derczynski, Bontcheva and Roberts 2016, "Broad Twitter Corpus".
"""

import dataclasses
import glob
import os
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.readers import column_file
from tff_pipeline.datasets.readers.column_file import ColumnFile

Array = npt.NDArray[Any]

# In a section without a test file one in so many sentences is a test sentence,
# the same ones for every seed.
TEST_EVERY = 5
# Least number of sentences in the documents that make up a client.
SENTENCES_PER_CLIENT = 500

# Parts of file names, between dots, that name the use: eng.train, test.txt.
_TRAIN, _TEST = ("train",), ("testb", "test")


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Tagged sentences.

    Attributes:
      tokens: The tokens of each sentence, none of them "".
      tags: The tags of each sentence in BIO: every entity starts with B-.
      owners: str of shape [sentences], the client of each sentence.
    """

    tokens: Sequence[Sequence[str]]
    tags: Sequence[Sequence[str]]
    owners: Array

    def __len__(self) -> int:
        return len(self.tokens)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Training and test sentences.

    Attributes:
      train: Sentences to train on.
      test: Sentences to test on.
      notes: Which files were read and in which scheme, in a sentence.
    """

    train: Sentences
    test: Sentences
    notes: str


def load(data_dir: str) -> Corpus:
    """Reads the column files of a folder.

    If there is a file with "train" in its name (eng.train, train.txt) and one
    with "testb" or "test", sentences are trained and tested on accordingly, and
    clients are documents; consecutive documents are joined until they have
    `SENTENCES_PER_CLIENT` sentences. Otherwise every `*.conll` file is a
    section and a client, and every fifth of its sentences is for the test.

    Args:
      data_dir: The folder. Files are UTF-8; columns are separated by tabs if
        the line has one, otherwise by blanks.

    Returns:
      The sentences, with tags in BIO. Files may also be in IOB1, where B- only
      separates an entity from one of the same type before it.

    Raises:
      DataError: If a file is missing or of another format; the message names
        the file and the line.
    """
    names = sorted(os.listdir(data_dir)) if os.path.isdir(data_dir) else []
    train, test = (_named(data_dir, names, what) for what in (_TRAIN, _TEST))
    if train and test:
        files = [column_file.read(train), column_file.read(test)]
        parts = [_by_document(file) for file in files]
    elif train or test:
        raise errors.DataError(
            f"{train or test} is there, but {data_dir} has no "
            f"{'test' if train else 'training'} file; add one named such as "
            f"{'eng.testb or test.txt' if train else 'eng.train or train.txt'}."
        )
    else:
        paths = sorted(
            glob.glob(os.path.join(glob.escape(data_dir), "*.conll"))
        )
        if not paths:
            raise errors.DataError(
                f"{data_dir} has no training file; --data_dir must name a "
                "folder with eng.train (or train.txt) and eng.testb (or "
                "test.txt), or with a *.conll file for each client."
            )
        files = [column_file.read(path) for path in paths]
        parts = _by_section(files)
    if not any(tag != "O" for tags in parts[0].tags for tag in tags):
        raise errors.DataError(
            f"{data_dir} has no entity among its training sentences: all tags "
            "are O; the tag must be the last column."
        )
    return Corpus(parts[0], parts[1], _notes(files))


def _named(
    data_dir: str, names: Sequence[str], what: Sequence[str]
) -> Optional[str]:
    """Finds the file whose name has one of the parts `what`, in their order."""
    for word in what:
        matches = [name for name in names if word in name.lower().split(".")]
        if len(matches) > 1:
            raise errors.DataError(
                f"{data_dir} has {' and '.join(matches)}, and each could be "
                f"the {word} file; keep one of them there."
            )
        if matches:
            return os.path.join(data_dir, matches[0])
    return None


def _by_document(file: ColumnFile) -> Sentences:
    """Assigns the file's sentences to clients, runs of its documents."""
    sizes = np.bincount(file.documents)
    client_of, first, sentences = np.empty(len(sizes), object), 0, 0
    runs = []
    for document, size in enumerate(sizes):
        sentences += size
        if sentences >= SENTENCES_PER_CLIENT:
            runs.append((first, document + 1))
            first, sentences = document + 1, 0
    if sentences:
        # These are too few for a client of their own, unless there are no
        # others.
        start = runs.pop()[0] if runs else first
        runs.append((start, len(sizes)))
    stem = os.path.basename(file.path)
    width = len(str(len(sizes)))
    for start, end in runs:
        client_of[start:end] = f"{stem}_{start:0{width}d}-{end - 1:0{width}d}"
    owners = client_of[file.documents].astype(str)
    return Sentences(file.tokens, file.tags, owners)


def _by_section(files: Sequence[ColumnFile]) -> list[Sentences]:
    """Divides sections into (train, test), each a client in both."""
    parts = []
    for is_test in (False, True):
        chosen = [
            (tokens, tags, os.path.splitext(os.path.basename(file.path))[0])
            for file in files
            for number, (tokens, tags) in enumerate(zip(file.tokens, file.tags))
            if (number % TEST_EVERY == TEST_EVERY - 1) == is_test
        ]
        if not chosen:
            raise errors.DataError(
                f"{files[0].path} has {len(files[0].tokens)} sentences; every "
                f"{TEST_EVERY}th of a section is for the test, so a section "
                f"needs at least {TEST_EVERY}."
            )
        tokens, tags, owners = zip(*chosen)
        parts.append(Sentences(tokens, tags, np.array(owners)))
    return parts


def _notes(files: Sequence[ColumnFile]) -> str:
    bio = sum(file.bio_starts for file in files)
    iob1 = sum(file.iob1_starts for file in files)
    if not iob1:
        scheme = "BIO"
    elif not bio:
        scheme = "IOB1, converted to BIO"
    else:
        scheme = f"BIO, where {iob1} entities start with I-, read as B-"
    documents = sum(file.document_count for file in files)
    lines = (
        f"{documents} lines -DOCSTART- start documents and are no tokens"
        if documents
        else "no lines -DOCSTART-"
    )
    names = ", ".join(os.path.basename(file.path) for file in files)
    return f"{names}: tags {scheme}; {lines}."
