"""Finds a model's folder: a SavedModel, or numbered versions of one."""

import dataclasses
import os
import re
from typing import Optional

from tff_pipeline import errors

_FILES = ("saved_model.pb", "saved_model.pbtxt")
# What needs no escaping in a URL, and no dots alone, which walk up a path.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


@dataclasses.dataclass(frozen=True)
class Place:
    """Locates one SavedModel.

    Attributes:
      folder: Its absolute path.
      name: The name that URLs call it by.
      version: The version that URLs call it by, at least 0.
    """

    folder: str
    name: str
    version: int


def find(path: str, name: Optional[str]) -> Place:
    """Finds the SavedModel at `path`, or its newest version.

    Args:
      path: The folder of a saved_model.pb, or, in TF Serving's layout, a folder
        of folders with whole numbers for names, each of which is a SavedModel.
      name: The name to call it by; by default the folder's name. A version's
        folder has its parent's. The version is 1 where no folder says it.

    Raises:
      ConfigError: If there is none, or it cannot have that name.
    """
    if not os.path.isdir(path):
        problem = "is not a folder" if os.path.exists(path) else "is not there"
        raise errors.ConfigError(
            f"--model={path} {problem}; name the folder of a SavedModel, such "
            "as runs/quickstart/saved_model."
        )
    path = os.path.abspath(path)
    parent, last = os.path.split(path)
    if _holds_model(path):
        version = _version(last)
        if version is None:
            return Place(path, _checked(name, last), 1)
        return Place(path, _checked(name, os.path.basename(parent)), version)
    try:
        entries = os.listdir(path)
    except OSError as error:
        raise errors.ConfigError(
            f"--model={path} cannot be read ({error.strerror}); make it "
            "readable, or name another folder."
        ) from None
    versions = [
        (number, entry)
        for entry in entries
        for number in [_version(entry)]
        if number is not None and _holds_model(os.path.join(path, entry))
    ]
    if not versions:
        raise errors.ConfigError(
            f"--model={path} holds neither a SavedModel (saved_model.pb) nor "
            "numbered folders that do; scripts/export.py writes one."
        )
    number, entry = max(versions)
    return Place(os.path.join(path, entry), _checked(name, last), number)


def _holds_model(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, f)) for f in _FILES)


def _version(entry: str) -> Optional[int]:
    """Reads a folder's name as a version; `int` would take more than digits."""
    if re.fullmatch(r"[0-9]{1,18}", entry):
        return int(entry)
    return None


def _checked(name: Optional[str], default: str) -> str:
    if name is None:
        # A folder may be called anything; a URL may not.
        return re.sub(r"[^A-Za-z0-9_-]+", "_", default).strip("_") or "model"
    if not _NAME.fullmatch(name):
        raise errors.ConfigError(
            f"--name={name}: must be letters, digits, '_', '-' and '.', at "
            "most 128 of them, and not begin with a dot."
        )
    return name
