"""Reads named entities from column files, as in the CoNLL-2003 shared task.

A line is a token. Its first column is the word and its last the tag; columns
between them are ignored. A blank line ends a sentence; a line `-DOCSTART-`
starts a document and is no token.

Tjong Kim Sang and De Meulder 2003, "Introduction to the CoNLL-2003 Shared
Task"; Derczynski, Bontcheva and Roberts 2016, "Broad Twitter Corpus".
"""

import dataclasses
import glob
import os
import re
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]

# In a section without a test file one in so many sentences is a test sentence,
# the same ones for every seed.
TEST_EVERY = 5
# Least number of sentences in the documents that make up a client.
SENTENCES_PER_CLIENT = 500
# A sentence with more tokens than this is taken for several whose blank lines
# are missing.
MAX_TOKENS = 500

_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BI]-\S+")
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


@dataclasses.dataclass
class _File:
    """Sentences of a file as lists, in its order."""

    path: str
    tokens: list[list[str]] = dataclasses.field(default_factory=list)
    tags: list[list[str]] = dataclasses.field(default_factory=list)
    # The number of each sentence's document, and the number of documents.
    documents: list[int] = dataclasses.field(default_factory=list)
    document_count: int = 0
    # Numbers of entities that start with B- where IOB1 would have I-, and of
    # entities that start with I-.
    bio_starts: int = 0
    iob1_starts: int = 0


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
        files = [_read(train), _read(test)]
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
        files = [_read(path) for path in paths]
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


def _by_document(file: _File) -> Sentences:
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


def _by_section(files: Sequence[_File]) -> list[Sentences]:
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


def _notes(files: Sequence[_File]) -> str:
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


def _read(path: str) -> _File:
    """Reads a column file, tags converted to BIO."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); fetch it again."
        ) from None
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} is not UTF-8: its byte {error.start} is "
            f"0x{error.object[error.start]:02x}; convert it, say with iconv "
            "-f latin1 -t utf-8."
        ) from None
    if "\0" in text:
        # NumPy and TensorFlow take a zero byte for the end of a word.
        where = text.count("\n", 0, text.index("\0")) + 1
        raise errors.DataError(
            f"{path}:{where} has a zero byte, which no text has; take it out."
        )
    content = _File(path)
    first_line, columns = 0, 0
    tokens: list[str] = []
    tags: list[str] = []
    # Not `splitlines`: tweets have other characters that it takes for ends.
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        line = line.rstrip("\r")
        if not line.strip():
            _add(content, tokens, tags)
            tokens, tags = [], []
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if cells[0] == _DOCUMENT:
            _add(content, tokens, tags)
            tokens, tags = [], []
            content.document_count += 1
            continue
        if not columns:
            first_line, columns = number, len(cells)
        if len(cells) != columns:
            raise errors.DataError(
                f"{path}:{number} has {len(cells)} columns, but line "
                f"{first_line} has {columns}; every token needs the same."
            )
        if columns == 1:
            raise errors.DataError(
                f"{path}:{number} has one column; a token's line holds the "
                "word first and the tag last, with tabs or blanks between."
            )
        tag = cells[-1].strip()
        if not _TAG.fullmatch(tag):
            raise errors.DataError(
                f"{path}:{number} has the tag {tag!r}; tags of BIO and IOB1 "
                "are O, B-TYPE and I-TYPE: convert others (IOBES, BILOU) first."
            )
        # A corpus may have lost a word; the place is kept, as its tag is.
        tokens.append(cells[0].strip() or " ")
        tags.append(tag)
        if len(tokens) > MAX_TOKENS:
            raise errors.DataError(
                f"{path}:{number} is in a sentence of more than {MAX_TOKENS} "
                "tokens; blank lines must part sentences."
            )
    if not content.tokens:
        raise errors.DataError(f"{path} holds no sentences.")
    return content


def _add(file: _File, tokens: list[str], tags: list[str]) -> None:
    """Adds a sentence, with tags converted to BIO, unless it is empty."""
    if not tokens:
        return
    bio, before = [], "O"
    for tag in tags:
        follows = before[2:] == tag[2:]
        if tag.startswith("I-") and not follows:
            file.iob1_starts += 1
            bio.append("B-" + tag[2:])
        else:
            file.bio_starts += tag.startswith("B-") and not follows
            bio.append(tag)
        before = tag
    file.tokens.append(tokens)
    file.tags.append(bio)
    # Sentences before the first -DOCSTART- are a document as well.
    file.documents.append(max(file.document_count - 1, 0))
