"""Reads examples of clients from files of JSON, of several forms."""

from collections.abc import Iterator
from typing import Any

from tff_pipeline import errors
from tff_pipeline.datasets.readers import json_files, json_values, leaf
from tff_pipeline.datasets.readers.json_files import File
from tff_pipeline.datasets.readers.split_names import SPLITS
from tff_pipeline.datasets.readers.sqlite_writer import Row

_FIELDS = ("client_id", "x", "y")


def read(path: str) -> Iterator[Row]:
    """Yields the examples of a file or a folder; one file at a time is read.

    Args:
      path: What `json_files.find` finds files in. Each is one of LEAF (see
        `leaf`), or JSON lines or a list of objects {"client_id": ..., "x": ...,
        "y": ..., "split": ...}; a split is train unless it is named.

    Yields:
      The examples; `x` is float32, `y` the label as `json_values.label` returns
      it.

    Raises:
      DataError: If a file is damaged, or has something else; the message names
        the file and the place.
    """
    # (split, user) -> file: a user whom two files have may be there twice.
    seen: dict[tuple[str, str], str] = {}
    for file in json_files.find(path):
        content = json_files.content(file.path)
        if leaf.is_leaf(content):
            yield from _of_users(content, file, seen)
        else:
            yield from _of_objects(content, file)


def _of_users(
    content: dict[str, Any], file: File, seen: dict[tuple[str, str], str]
) -> Iterator[Row]:
    for user in leaf.users(content, file.path):
        other = seen.setdefault((file.split, user.name), file.path)
        if other != file.path:
            raise errors.DataError(
                f"{user.where} is in {other} too, as if examples were there "
                "twice; take one of the files out of the folder."
            )
        if not user.x:
            continue
        all_x = json_values.inputs(user.x, user.where)
        for number, (x, y) in enumerate(zip(all_x, user.y), start=1):
            where = f"{user.where}, example {number},"
            yield Row(user.name, file.split, x, json_values.label(y, where))


def _of_objects(content: Any, file: File) -> Iterator[Row]:
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list) or not content:
        raise errors.DataError(
            f"{file.path} holds no examples; it must have objects with "
            "client_id, x and y, in lines or in a list, or be a file of LEAF "
            "with users and user_data."
        )
    for number, value in enumerate(content, start=1):
        place, value = (
            value if isinstance(value, tuple) else (f"object {number}", value)
        )
        where = f"{file.path}: {place}"
        for name in _FIELDS:
            if not isinstance(value, dict) or name not in value:
                raise errors.DataError(
                    f"{where} has no {name!r}; every example is an object with "
                    "client_id, x and y (save records of columns as CSV)."
                )
        yield Row(
            json_values.client_name(value["client_id"], where),
            _split(value.get("split", file.split), where),
            json_values.inputs(value["x"], where),
            json_values.label(value["y"], where),
        )


def _split(value: Any, where: str) -> str:
    if not isinstance(value, str) or value.lower() not in SPLITS:
        raise errors.DataError(
            f"{where} has a split that is none; it must be train, test or "
            "validation."
        )
    return SPLITS[value.lower()]
