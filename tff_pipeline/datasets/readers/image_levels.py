"""Tells what the folders above images mean: split, client and class."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple, Optional

from tff_pipeline import errors
from tff_pipeline.datasets.readers import split_names

# Folders' names in small letters -> the split that they mean.
_SPLITS = {**split_names.SPLITS, "training": "train", "testing": "test"}
_LAYOUTS = "CLIENT/CLASS/*.png or train/CLIENT/CLASS/*.png beside test/"


class Place(NamedTuple):
    """Where an image belongs.

    Attributes:
      split: "train", "test" or "validation".
      client: The client's name; `None` if no folder names clients.
      label: The class's name.
    """

    split: str
    client: Optional[str]
    label: str


def places(path: str, folders: Sequence[tuple[str, ...]]) -> list[Place]:
    """Tells split, client and class of images by the folders that hold them.

    Example:
      >>> places("photos", [("train", "a", "cat"), ("val", "a", "dog")])
      ... # doctest: +NORMALIZE_WHITESPACE
      [Place(split='train', client='a', label='cat'),
       Place(split='test', client='a', label='dog')]

    The innermost folder is the class. A level of folders above it that are all
    named like splits (train, test, val, ...) holds splits, another one clients.
    Where there is a split val but none to test on, val is to test on.

    Args:
      path: The folder that holds all, for errors.
      folders: The names of the folders above each image, from the outermost,
        as many for all images.

    Raises:
      DataError: If it cannot be told which level holds what; the message asks.
    """
    depth = len(folders[0])
    if not depth:
        raise errors.DataError(
            f"{path} holds images but no folders of classes; name its files "
            f"{_LAYOUTS}."
        )
    level = _split_level(path, folders)
    others = [place for place in range(depth - 1) if place != level]
    if len(others) > 1:
        raise errors.DataError(
            f"{path} has images under {depth} levels of folders, and it cannot "
            f"be told which of them are clients; name its files {_LAYOUTS}."
        )
    labels = {names[-1] for names in folders}
    _check_alike(path, labels)
    if len(_kinds(labels)) > 1 and all(map(_kind, labels)):
        raise errors.DataError(
            f"{path} has splits (train, test) where its classes should be; put "
            f"these folders above clients and classes: {_LAYOUTS}."
        )
    splits = [
        "train" if level is None else str(_kind(names[level]))
        for names in folders
    ]
    if "test" not in splits:
        splits = ["test" if s == "validation" else s for s in splits]
    if "train" not in splits:
        raise errors.DataError(
            f"{path} has folders of splits, but none is named train; add it, "
            "or name its folders otherwise if they are clients."
        )
    return [
        Place(split, names[others[0]] if others else None, names[-1])
        for split, names in zip(splits, folders)
    ]


def _split_level(
    path: str, folders: Sequence[tuple[str, ...]]
) -> Optional[int]:
    """Returns the level whose folders are all named like splits, if any."""
    found = []
    for level in range(len(folders[0]) - 1):
        names = {each[level] for each in folders}
        kinds = _kinds(names)
        if all(map(_kind, names)):
            found.append(level)
        elif len(kinds) > 1:
            odd = sum(_kind(name) is None for name in names)
            raise errors.DataError(
                f"{path} has folders named {' and '.join(sorted(kinds))} "
                f"beside {odd} others: are they splits or clients? Keep splits "
                f"on a level of their own ({_LAYOUTS}), or rename them."
            )
    if len(found) > 1:
        raise errors.DataError(
            f"{path} has folders named like splits (train, test) on "
            f"{len(found)} levels; keep one: {_LAYOUTS}."
        )
    return found[0] if found else None


def _kind(name: str) -> Optional[str]:
    return _SPLITS.get(name.strip().lower())


def _kinds(names: set[str]) -> set[str]:
    return {kind for kind in map(_kind, names) if kind is not None}


def _check_alike(path: str, labels: set[str]) -> None:
    """Refuses classes that differ in case or in how a letter is encoded."""
    known: dict[str, str] = {}
    for label in sorted(labels):
        key = unicodedata.normalize("NFC", label.strip()).casefold()
        other = known.setdefault(key, label)
        if other != label:
            raise errors.DataError(
                f"{path} has the classes {other!r} and {label!r}, which differ "
                "in capitals, blanks or accents alone; name them alike."
            )
