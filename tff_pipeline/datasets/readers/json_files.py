"""Finds files of JSON, and reads the objects in them.

A file is one value, as LEAF and many programs write it, or JSON lines, an
object a line, whatever its name says.
"""

import json
import os
import re
from typing import Any, NamedTuple

from tff_pipeline import errors
from tff_pipeline.datasets.readers import json_lines, packed
from tff_pipeline.datasets.readers.split_names import SPLITS

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_ENDINGS = (".json", ".json.gz", *_LINES)
# "all_data_niid_0_keep_0_train_9.json", as LEAF names files.
_SPLIT_IN_NAME = re.compile(r"(?:.*[-_.])?([a-z]+)(?:[-_.]?\d+)?\.")
# Where LEAF's scripts put what they have not split.
_WHOLE = "all_data"


class File(NamedTuple):
    """A file of JSON.

    Attributes:
      path: Its path.
      split: "train", "test" or "validation", by its folder or name.
    """

    path: str
    split: str


def find(path: str) -> list[File]:
    """Finds a file of JSON, or those of a folder.

    Args:
      path: A file that ends in .json, .jsonl or .ndjson (or these with .gz),
        or a folder of such. If it has folders called train and test, or files
        whose names say so, these are splits; all else is to train on.

    Returns:
      The files, sorted by name; none if `path` is something else.
    """
    if not os.path.isdir(path):
        return [File(path, "train")] if _is_json(path) else []
    found = []
    for name in sorted(os.listdir(path)):
        split = SPLITS.get(name.lower())
        if split is not None and os.path.isdir(os.path.join(path, name)):
            for file in _in(os.path.join(path, name)):
                found.append(File(file, split))
    if found:
        return found
    whole = os.path.join(path, _WHOLE)
    files = _in(path) or (_in(whole) if os.path.isdir(whole) else [])
    by_name = [File(file, _split_in_name(file)) for file in files]
    if {"train", "test"} <= {file.split for file in by_name}:
        return by_name
    return [File(file, "train") for file in files]


def _in(folder: str) -> list[str]:
    return [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder))
        if _is_json(name) and not name.startswith(".")
    ]


def _is_json(name: str) -> bool:
    return name.lower().endswith(_ENDINGS)


def _split_in_name(path: str) -> str:
    match = _SPLIT_IN_NAME.match(os.path.basename(path).lower())
    return SPLITS.get(match[1] if match else "", "train")


def content(path: str) -> Any:
    """Reads a file.

    Args:
      path: A file that `find` returned.

    Returns:
      Its value; for JSON lines, a list of pairs of (the place, such as "line
      3", the object).

    Raises:
      DataError: If it cannot be read or is not JSON; the message names the
        place.
    """
    if path.lower().endswith(_LINES):
        return json_lines.numbered(path, {})
    try:
        text = packed.read(path).decode("utf-8-sig")
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            return json_lines.numbered(path, {})
        raise _not_json(path, error) from None
    except (ValueError, RecursionError) as error:
        raise _not_json(path, error) from None


def _not_json(path: str, error: Exception) -> errors.DataError:
    return errors.DataError(
        f"{path} is not JSON ({error}); it may be cut short: fetch it again."
    )
