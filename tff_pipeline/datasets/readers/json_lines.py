"""Reads JSON lines, one object per line, gzipped if the name ends in `.gz`."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from tff_pipeline import errors
from tff_pipeline.datasets.readers import packed

# Words for the types of values.
_WORDS = {str: "text", list: "a list", int: "a whole number"}


def read(path: str, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """Reads all objects of a file.

    Args:
      path: The file; blank lines are skipped.
      fields: The names that every object must have, each with the type of its
        value: str, list or int.

    Returns:
      The objects, at least one, in the file's order.

    Raises:
      DataError: If the file cannot be read, or a line is not such an object;
        the message names the line.
    """
    return [each for _, each in numbered(path, fields)]


def numbered(
    path: str, fields: Mapping[str, type]
) -> list[tuple[str, dict[str, Any]]]:
    """Reads all objects of a file, each with its place, such as "line 3".

    Args:
      path: See `read`.
      fields: See `read`.

    Raises:
      DataError: See `read`.
    """
    try:
        lines = packed.read(path).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); fetch it again."
        ) from None
    objects = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(path, place, f"is not JSON ({error})")
        if "\\u" in line:
            _check_characters(value, path, place)
        objects.append((place, check(value, fields, path, place)))
    if not objects:
        refuse(path, "the file", "is empty")
    return objects


def _check_characters(value: Any, path: str, where: str) -> None:
    """Refuses half a surrogate pair, which JSON allows and UTF-8 does not."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = json.dumps(error.object[error.start])
        refuse(path, where, f"has {half}, which is half a character")


def check(
    value: Any, fields: Mapping[str, type], path: str, where: str
) -> dict[str, Any]:
    """Checks that a value is an object with the fields that are needed.

    Example:
      >>> check({"client": "ann"}, {"client": str}, "users.jsonl", "line 1")
      {'client': 'ann'}

    Args:
      value: A JSON value.
      fields: See `read`.
      path: The file, for errors.
      where: The value's place in the file, for errors, such as "line 3".

    Returns:
      `value`.

    Raises:
      DataError: If it is not such an object.
    """
    if not isinstance(value, dict):
        refuse(path, where, f"is not an object with {', '.join(fields)}")
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            has = json.dumps(value.get(name))[:40]
            refuse(path, where, f"needs {name!r}, {_WORDS[kind]}, not {has}")
    return value


def refuse(path: str, where: str, what: str) -> NoReturn:
    """Raises a `DataError` about a place in a file.

    Args:
      path: The file.
      where: The place, such as "line 3".
      what: The mistake, a verb and its object, such as "is not JSON".

    Raises:
      DataError: Always.
    """
    raise errors.DataError(
        f"{path}: {where} {what}; mend it, or fetch the file again."
    )
