"""Reads named entities from column files, as in the CoNLL-2003 shared task.

`conll_files` finds the files and `column_file` reads one; here their sentences
are assigned to clients and divided into those to train, to choose and to test
on.

Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared
Task"; Derczynski, Bontcheva and Roberts 2016, "Broad Twitter Corpus".
"""

import collections
import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.readers import (
    column_file,
    conll_files,
    entity_scheme,
)
from tff_pipeline.datasets.readers.column_file import ColumnFile
from tff_pipeline.datasets.readers.conll_files import Source

Array = npt.NDArray[Any]

# Where there is no test file, one in so many sentences is a test sentence, the
# same ones for every seed.
TEST_EVERY = 5
# File names that notes tell.
_NAMES = 6


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

    def take(self, chosen: Array) -> "Sentences":
        """Selects sentences.

        Args:
          chosen: bool of shape [sentences], true for those to keep.
        """
        places = np.flatnonzero(chosen)
        return Sentences(
            [self.tokens[place] for place in places],
            [self.tags[place] for place in places],
            self.owners[places],
        )


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Training, test and validation sentences.

    Attributes:
      train: Sentences to train on.
      test: Sentences to test on.
      notes: Which files were read, in which scheme and who the clients are, and
        which files were left out, in a few sentences.
      validation: Sentences to choose on, where there is a file of them.
    """

    train: Sentences
    test: Sentences
    notes: str
    validation: Optional[Sentences] = None


def load(data_dir: str, sentences_per_client: int = 500) -> Corpus:
    """Reads the column files of a folder.

    If there is a file with the word "train" in its name (eng.train, train.txt,
    en_train.conll), clients are its documents, and test sentences are those of
    the file with "testb" or "test". A file with "testa", "dev" or "valid" has
    the validation sentences. Otherwise every `*.conll` file is a section
    and a client; or, where there are none, every folder is one and has such
    files. Without a test file every fifth sentence is for the test.

    Args:
      data_dir: The folder. Files are as `column_file.read` takes them.
      sentences_per_client: Consecutive documents are joined until they have as
        many sentences; with 1 every document is a client.

    Returns:
      The sentences, with tags in BIO.

    Raises:
      DataError: If a file is missing or of another format; the message names
        the file and the line.
    """
    sources = conll_files.find(data_dir)
    trains, tests, validations, files = [], [], [], []
    for source in sources:
        train_file = column_file.read(source.train)
        train = _sentences(train_file, source, sentences_per_client)
        files.append(train_file)
        if source.test is None:
            place = np.arange(len(train)) % TEST_EVERY
            is_test = place == TEST_EVERY - 1
            train, test = train.take(~is_test), train.take(is_test)
        else:
            test_file = column_file.read(source.test)
            test = _sentences(test_file, source, sentences_per_client)
            files.append(test_file)
        trains.append(train)
        tests.append(test)
        if source.validation is not None:
            file = column_file.read(source.validation)
            files.append(file)
            validations.append(_sentences(file, source, sentences_per_client))
    corpus_train, corpus_test = _joined(trains), _joined(tests)
    if not len(corpus_test):
        raise errors.DataError(
            f"{sources[0].train} has {len(corpus_train)} sentences; every "
            f"{TEST_EVERY}th of a section is for the test, so a section "
            f"needs at least {TEST_EVERY}."
        )
    if not any(tag != "O" for tags in corpus_train.tags for tag in tags):
        raise errors.DataError(
            f"{data_dir} has no entity among its training sentences: all tags "
            "are O; the tag must be the last column."
        )
    notes = [_read_notes(data_dir, files)]
    if sources[0].owner is None:
        clients = len(np.unique(corpus_train.owners))
        notes.append(_client_notes(files[0], clients, sentences_per_client))
    notes += _left_out_notes(sources)
    return Corpus(
        corpus_train,
        corpus_test,
        " ".join(notes),
        _joined(validations) if validations else None,
    )


def _sentences(
    file: ColumnFile, source: Source, sentences_per_client: int
) -> Sentences:
    """Assigns a file's sentences to clients."""
    if source.owner is None:
        owners = _by_document(file, sentences_per_client)
    else:
        owners = np.full(len(file.tokens), source.owner)
    return Sentences(file.tokens, file.tags, owners)


def _by_document(file: ColumnFile, sentences_per_client: int) -> Array:
    """Returns the sentences' clients, which are runs of documents."""
    sizes = np.bincount(file.documents)
    client_of, first, sentences = np.empty(len(sizes), object), 0, 0
    runs = []
    for document, size in enumerate(sizes):
        sentences += size
        if sentences >= sentences_per_client:
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
    return client_of[file.documents].astype(str)


def _joined(parts: Sequence[Sentences]) -> Sentences:
    if len(parts) == 1:
        return parts[0]
    return Sentences(
        [tokens for part in parts for tokens in part.tokens],
        [tags for part in parts for tags in part.tags],
        np.concatenate([part.owners for part in parts]),
    )


def _read_notes(data_dir: str, files: Sequence[ColumnFile]) -> str:
    """Says which files were read, and how."""
    names = [os.path.relpath(file.path, data_dir) for file in files]
    schemes = list(zip(names, (file.scheme for file in files)))
    documents = sum(file.document_count for file in files)
    lines = (
        f"{documents} documents are marked, as by -DOCSTART-"
        if documents
        else "no lines -DOCSTART-"
    )
    notes = (
        f"{_listed(names)}: tags {entity_scheme.describe(schemes)}; {lines}."
    )
    files_of: dict[str, list[str]] = collections.defaultdict(list)
    for name, file in zip(names, files):
        if file.notes:
            files_of["; ".join(file.notes)].append(name)
    for words, among in files_of.items():
        notes += f" In {_listed(among)}: {words}."
    return notes


def _client_notes(
    file: ColumnFile, clients: int, sentences_per_client: int
) -> str:
    """Says how a training file's documents became clients."""
    documents = len(set(file.documents))
    if documents == 1:
        return (
            "All sentences to train on are one document and so one client; "
            "--partition=iid makes more."
        )
    if sentences_per_client == 1:
        return f"Each of the {documents} documents to train on is a client."
    joined = "one client" if clients == 1 else f"{clients} clients"
    return (
        f"The {documents} documents to train on are joined to {joined} of at "
        f"least {sentences_per_client} sentences where there are as many; "
        "--sentences_per_client=1 makes each document a client."
    )


def _left_out_notes(sources: Sequence[Source]) -> list[str]:
    """Says which sentences are held out and which files were not read."""
    notes = []
    held_out = sum(source.test is None for source in sources)
    if held_out and sources[0].owner is None:
        notes.append(
            f"There is no test file: every {TEST_EVERY}th sentence is for the "
            "test."
        )
    validation = [
        os.path.basename(source.validation)
        for source in sources
        if source.validation is not None
    ]
    if validation:
        notes.append(
            f"{_listed(sorted(set(validation)))} has the validation set, on "
            "which --target_metric chooses; nothing trains on it."
        )
    left_out = [name for source in sources for name in source.left_out]
    if left_out:
        one = len(left_out) == 1
        notes.append(
            f"{_listed(left_out)} {'is' if one else 'are'} left out: one file "
            "is to train, one to choose and one to test on."
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    rest = [f"{more} more files"] if more > 1 else names[_NAMES:]
    return ", ".join([*names[:_NAMES], *rest])
