"""The data sets of `tff.simulation.datasets`: fetched, checked and opened.

Fetching is `download`'s, for TFF's own writes a file under its last name as it
comes in, and takes a half one for whole in the next run. So is reading the
counts of Stack Overflow, which TFF keeps in a folder of Keras'.
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
# Of an SQLite file, and of the page size and the number of pages within.
_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = slice(16, 18)
_PAGES = slice(28, 32)


@dataclasses.dataclass(frozen=True)
class Parts:
    """A data set of TFF's.

    Attributes:
      train: The clients that train.
      test: Who it is tested on.
      testers_train: Whether the clients of `test` are those of `train`, with
        other examples.
      held_out: Clients that are in neither.
    """

    train: tff.simulation.datasets.ClientData
    test: tff.simulation.datasets.ClientData
    testers_train: bool = True
    held_out: Optional[tff.simulation.datasets.ClientData] = None


def emnist(folder: Optional[str]) -> Parts:
    """3,400 writers of 62 classes; `None` is two made-up ones of ten digits.

    Raises:
      DataError: If the file cannot be had or is damaged; likewise below.
    """
    datasets = tff.simulation.datasets.emnist
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("emnist_all.sqlite.lzma", folder)
    return Parts(*datasets.load_data(only_digits=False, cache_dir=folder))


def cifar100(folder: Optional[str]) -> Parts:
    """500 clients and 100 others to test on; `None` is two made-up ones."""
    datasets = tff.simulation.datasets.cifar100
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("cifar100.sqlite.lzma", folder)
    train, test = datasets.load_data(cache_dir=folder)
    return Parts(train, test, testers_train=False)


def shakespeare(folder: Optional[str]) -> Parts:
    """715 roles; `None` is TFF's synthetic ones."""
    datasets = tff.simulation.datasets.shakespeare
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("shakespeare.sqlite.lzma", folder)
    return Parts(*datasets.load_data(cache_dir=folder))


def stackoverflow(folder: Optional[str]) -> Parts:
    """342,477 users, 204,088 of them later, and 38,758 who never train.

    A few of those "later" wrote nothing before. `None` is three made-up users.
    """
    datasets = tff.simulation.datasets.stackoverflow
    if folder is None:
        return _synthetic(datasets.get_synthetic())
    _fetch("stackoverflow.sqlite.lzma", folder)
    train, held_out, test = datasets.load_data(cache_dir=folder)
    return Parts(train, test, held_out=held_out)


def stackoverflow_words(folder: Optional[str]) -> list[str]:
    """The 10,000 words that most users use; `None` is the made-up users'."""
    if folder is None:
        datasets = tff.simulation.datasets.stackoverflow
        return list(datasets.get_synthetic_word_counts())
    name, sha256 = _WORDS
    path = download.file(ORIGIN + name, folder, sha256)
    lines = read_counts(path, "stackoverflow.word_count").splitlines()
    return [line.split()[0] for line in lines[:NUM_WORDS]]


def stackoverflow_tags(folder: Optional[str]) -> list[str]:
    """The 500 tags that most users use; `None` is the made-up users'."""
    if folder is None:
        datasets = tff.simulation.datasets.stackoverflow
        return list(datasets.get_synthetic_tag_counts())
    name, sha256 = _TAGS
    path = download.file(ORIGIN + name, folder, sha256)
    counts = json.loads(read_counts(path, "stackoverflow.tag_count"))
    return sorted(counts, key=counts.get, reverse=True)[:NUM_TAGS]


def read_counts(path: str, name: str) -> str:
    """The text of the file `name` in the archive `path`; nothing is unpacked.

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
    """As in TFF's baselines, these train and are tested on the same."""
    return Parts(clients, clients)


def _fetch(name: str, folder: str) -> None:
    """Has the data base `name` in `folder`, where TFF looks for it."""
    path = download.file(ORIGIN + name, folder)
    check_whole(path)


def check_whole(path: str) -> None:
    """Raises `DataError` unless `path` is TFF's kind of SQLite file, all of it.

    TFF's own downloads, when cut off, leave the beginning of one.
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
    # 65,536 does not fit and is written as 1.
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
