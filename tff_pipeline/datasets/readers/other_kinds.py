"""Tells by names what a file or a folder holds, and which task reads that."""

import collections
import itertools
import os
from typing import NamedTuple, Optional

# So many names tell what a folder holds.
_LOOKED_AT = 1000
_TO_CLIENTS = (
    "turn it into clients first, with prepare-data --input={path} "
    "--output=own.sqlite"
)


class Kind(NamedTuple):
    """A kind of data that users have.

    Attributes:
      words: What it is called.
      endings: How the names of its files end, in lower case.
      advice: What to do with it; "{path}" stands for its place.
    """

    words: str
    endings: tuple[str, ...]
    advice: str


TABLE = Kind(
    "a table",
    (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"),
    "train with --task=csv, for which init {path} writes a flagfile",
)
ARRAYS = Kind("arrays", (".npz",), "train with --task=npz --data_dir={path}")
DATABASE = Kind(
    "clients in SQLite",
    (".sqlite", ".sqlite3", ".db"),
    "train with --task=sqlite --data_dir={path}",
)
_KINDS = (
    TABLE,
    ARRAYS,
    DATABASE,
    Kind(
        "JSON",
        (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".json.gz"),
        _TO_CLIENTS,
    ),
    Kind(
        "images",
        (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
        _TO_CLIENTS,
    ),
    Kind(
        "a corpus",
        (".conll", ".iob", ".bio"),
        "train with --task=ner_tagger and the folder of the corpus as "
        "--data_dir",
    ),
)


def kind_of(path: str) -> Optional[Kind]:
    """Returns what most files are; `None` if no name is known.

    Args:
      path: A file or a folder, which need not exist.
    """
    counts: collections.Counter[Kind] = collections.Counter()
    for name in _names(path):
        kind = next(
            (each for each in _KINDS if name.lower().endswith(each.endings)),
            None,
        )
        if kind is not None:
            counts[kind] += 1
    most = counts.most_common(1)
    return most[0][0] if most else None


def advice(path: str, own: Kind, otherwise: str) -> str:
    """Says what to do with data that a task cannot read.

    Example:
      >>> advice("own.npz", TABLE, otherwise="fetch it again")
      'it holds arrays: train with --task=npz --data_dir=own.npz'

    Args:
      path: A file or a folder.
      own: The kind that the task reads.
      otherwise: What to do if it is no other kind, or none that is known.

    Returns:
      The end of a sentence.
    """
    kind = kind_of(path)
    if kind is None or kind == own:
        return otherwise
    return f"it holds {kind.words}: {kind.advice.format(path=path)}"


def _names(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [os.path.basename(path)]
    files = (name for _, _, names in os.walk(path) for name in names)
    return list(itertools.islice(files, _LOOKED_AT))
