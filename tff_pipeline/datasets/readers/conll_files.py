"""Finds the column files of a corpus, by their names."""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from typing import Optional

from tff_pipeline import errors

# Words in file names that tell the use: eng.train, en_train.conll, test.txt. Of
# the test files testb, CoNLL-2003's, comes first.
_TRAIN = ("train",)
_TEST = ("testb", "test")
_VALIDATION = ("testa", "dev", "devel", "valid", "validation", "val")
# Ends of the names of files that are sections.
_SECTIONS = (".conll", ".iob", ".iob2", ".bio", ".bioes", ".conllu")

# A table with a token a row.
_TABLE = ".csv"


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of one client, or of clients that are documents.

    Attributes:
      owner: The client's name; `None` if clients are documents.
      train: The file to train on.
      test: The file to test on; `None` if a part of `train` is for the test.
      validation: The file to choose on, if there is one.
      left_out: Names of files that look as if they belonged to the corpus but
        are not read.
    """

    owner: Optional[str]
    train: str
    test: Optional[str] = None
    validation: Optional[str] = None
    left_out: Sequence[str] = ()


def find(data_dir: str) -> list[Source]:
    """Finds the files of a folder; see `conll.load`.

    Args:
      data_dir: The folder.

    Returns:
      At least one source.

    Raises:
      DataError: If there are no such files, or it is not clear which to take.
    """
    found = _in_folder(data_dir)
    if found:
        return found
    for name in _entries(data_dir, os.path.isdir):
        within = _in_folder(os.path.join(data_dir, name))
        for source in within:
            owner = name
            if len(within) > 1:
                owner = f"{name}/{source.owner}"
            found.append(dataclasses.replace(source, owner=owner))
    if found:
        return found
    raise errors.DataError(
        f"{data_dir} has no training file; --data_dir must name a "
        "folder with eng.train (or train.txt) and eng.testb (or "
        "test.txt), or with a *.conll file for each client, or with a folder "
        "of such files for each client."
    )


def _in_folder(folder: str) -> list[Source]:
    """Finds the sources whose files lie in a folder itself."""
    names = _entries(folder, os.path.isfile)
    train, test, validation = (
        _named(folder, names, what) for what in (_TRAIN, _TEST, _VALIDATION)
    )
    if train is None and test is not None:
        raise errors.DataError(
            f"{os.path.join(folder, test)} is there, but {folder} has no "
            "training file; add one named such as eng.train or train.txt."
        )
    sections = [name for name in names if name.lower().endswith(_SECTIONS)]
    tables = [name for name in names if name.lower().endswith(_TABLE)]
    if train is None and tables and not sections:
        if len(tables) > 1:
            raise errors.DataError(
                f"{folder} has {' and '.join(tables[:2])}, and either could be "
                "the training file; keep one there, call them train.csv and "
                "test.csv, or put each client's into a folder of its own."
            )
        return [Source(None, os.path.join(folder, tables[0]))]
    if train is None:
        return [
            Source(os.path.splitext(name)[0], os.path.join(folder, name))
            for name in sections
        ]
    left_out = [
        name
        for name in names
        if name not in (train, test, validation)
        and (name in sections or _words(name) & {*_VALIDATION, *_TEST})
    ]
    return [
        Source(
            None,
            os.path.join(folder, train),
            None if test is None else os.path.join(folder, test),
            None if validation is None else os.path.join(folder, validation),
            left_out,
        )
    ]


def _entries(folder: str, is_kind: Callable[[str], bool]) -> list[str]:
    """Lists files or folders by name; none if there is no such folder."""
    if not os.path.isdir(folder):
        return []
    return [
        name
        for name in sorted(os.listdir(folder))
        if not name.startswith(".") and is_kind(os.path.join(folder, name))
    ]


def _words(name: str) -> set[str]:
    """Returns the words of a file's name: wnut and train of wnut17train."""
    return set(re.findall("[a-z]+", name.lower()))


def _named(
    folder: str, names: Sequence[str], what: Sequence[str]
) -> Optional[str]:
    """Finds the file whose name has one of the words `what`, in their order."""
    for word in what:
        matches = [name for name in names if word in _words(name)]
        if len(matches) > 1:
            raise errors.DataError(
                f"{folder} has {' and '.join(matches)}, and each could be "
                f"the {word} file; keep one of them there."
            )
        if matches:
            return matches[0]
    return None
