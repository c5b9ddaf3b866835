"""Fetches, checks and opens the data sets of `tff.simulation.datasets`.

`download` fetches them, not TFF, which writes a file under its final name while
it arrives and takes half a file for a whole one in the next run; TFF also keeps
the word counts of Stack Overflow in a folder of Keras.
"""

import dataclasses
import json
import os
import sqlite3
import tarfile
from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.datasets.readers import download

ORIGIN = "https://storage.googleapis.com/tff-datasets-public/"
_WORDS = (
    "stackoverflow.word_count.tar.bz2",
    "1dc00256d6e527c54b9756d968118378ae14e6692c0b3b6cad470cdd3f0c519c",
)
_TAGS = (
    "stackoverflow.tag_count.tar.bz2",
    "6fe281cec490d9384a290d560072438e7e2b377bbb823876ce7bd6f82696772d",
)
NUM_WORDS = 10_000
NUM_TAGS = 500
# The first bytes of an SQLite file, and the places in its header of the page
# size and the number of pages.
_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = slice(16, 18)
_PAGES = slice(28, 32)


@dataclasses.dataclass(frozen=True)
class Parts:
    """A data set of TFF.

    Attributes:
      train: The clients that train.
      test: The clients to test on.
      testers_train: Whether the clients of `test` are those of `train`, with
        other examples.
      held_out: Clients that are in neither; `None` if there are none.
    """

    train: tff.simulation.datasets.ClientData
    test: tff.simulation.datasets.ClientData
    testers_train: bool = True
    held_out: Optional[tff.simulation.datasets.ClientData] = None


def emnist(folder: Optional[str]) -> Parts:
    """Opens EMNIST: 3,400 writers of characters of 62 classes.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for two
        synthetic writers of ten digits.

    Returns:
      The clients.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    datasets = tff.simulation.datasets.emnist
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("emnist_all.sqlite.lzma", folder)
    return Parts(*datasets.load_data(only_digits=False, cache_dir=folder))


def cifar100(folder: Optional[str]) -> Parts:
    """Opens CIFAR-100: 500 clients, and 100 others to test on.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for two
        synthetic clients.

    Returns:
      The clients.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    datasets = tff.simulation.datasets.cifar100
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("cifar100.sqlite.lzma", folder)
    train, test = datasets.load_data(cache_dir=folder)
    return Parts(train, test, testers_train=False)


def shakespeare(folder: Optional[str]) -> Parts:
    """Opens Shakespeare: 715 roles of his plays.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for
        synthetic roles.

    Returns:
      The clients.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    datasets = tff.simulation.datasets.shakespeare
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("shakespeare.sqlite.lzma", folder)
    return Parts(*datasets.load_data(cache_dir=folder))


def stackoverflow(folder: Optional[str]) -> Parts:
    """Opens Stack Overflow: 342,477 users, and 38,758 who never train.

    Posts after a certain day, by 204,088 users, are to test on; a few of these
    users wrote nothing before it.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for three
        synthetic users.

    Returns:
      The clients.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    datasets = tff.simulation.datasets.stackoverflow
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("stackoverflow.sqlite.lzma", folder)
    train, held_out, test = datasets.load_data(cache_dir=folder)
    return Parts(train, test, held_out=held_out)


def stackoverflow_words(folder: Optional[str]) -> list[str]:
    """Reads the 10,000 words of Stack Overflow that the most users use.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for the
        words of the synthetic users.

    Returns:
      The words, the most widely used first.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    if folder is None:
        datasets = tff.simulation.datasets.stackoverflow
        return list(datasets.get_synthetic_word_counts())
    name, sha256 = _WORDS
    path = download.file(ORIGIN + name, folder, sha256)
    lines = read_counts(path, "stackoverflow.word_count").splitlines()
    return [line.split()[0] for line in lines[:NUM_WORDS]]


def stackoverflow_tags(folder: Optional[str]) -> list[str]:
    """Reads the 500 tags of Stack Overflow that the most users use.

    Args:
      folder: The folder that the file is in or is fetched to; `None` for the
        tags of the synthetic users.

    Returns:
      The tags, the most widely used first.

    Raises:
      DataError: If the file cannot be fetched or is damaged.
    """
    if folder is None:
        datasets = tff.simulation.datasets.stackoverflow
        return list(datasets.get_synthetic_tag_counts())
    name, sha256 = _TAGS
    path = download.file(ORIGIN + name, folder, sha256)
    counts = json.loads(read_counts(path, "stackoverflow.tag_count"))
    return sorted(counts, key=counts.get, reverse=True)[:NUM_TAGS]


def read_counts(path: str, name: str) -> str:
    """Reads a file of a tar archive, without unpacking anything to disk.

    Args:
      path: The archive.
      name: The file's name in it.

    Returns:
      The file's text.

    Raises:
      DataError: If it cannot be read.
    """
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(name)
            if member is None:
                raise KeyError(f"{name} is no file")
            return member.read().decode()
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); remove it, and it is fetched "
            "again."
        ) from None


def _synthetic(clients: tff.simulation.datasets.ClientData) -> Parts:
    """Tests clients on what they train on, as TFF's baselines do."""
    return Parts(clients, clients)


def _fetch(name: str, folder: str) -> None:
    """Fetches a database to the folder in which TFF looks for it."""
    path = download.file(ORIGIN + name, folder)
    check_whole(path)


def check_whole(path: str) -> None:
    """Checks that a file is a complete SQLite file of TFF's clients.

    TFF's own downloads leave the beginning of one when they are interrupted.

    Args:
      path: The file.

    Raises:
      DataError: If it is not.
    """
    remedy = "remove it, and it is fetched again"
    try:
        with open(path, "rb") as file:
            header = file.read(100)
        size = os.path.getsize(path)
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); --data_dir must be a "
            "folder that can be read."
        ) from None
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise errors.DataError(
            f"{path} is not an SQLite file of clients; {remedy}."
        )
    # A size of 65,536 does not fit and is written as 1.
    page_size = int.from_bytes(header[_PAGE_SIZE], "big")
    page_size = 65536 if page_size == 1 else page_size
    promised = page_size * int.from_bytes(header[_PAGES], "big")
    if size < promised:
        raise errors.DataError(
            f"{path} is cut short: {size} of {promised} bytes; {remedy}."
        )
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            columns = "client_id, split_name FROM"
            connection.execute(f"SELECT {columns} client_metadata LIMIT 1")
            connection.execute(
                f"SELECT serialized_example_proto, {columns} examples LIMIT 1"
            )
        connection.close()
    except sqlite3.Error as error:
        raise errors.DataError(
            f"{path} is not an SQLite file of TFF's clients ({error}); "
            f"{remedy}."
        ) from None
