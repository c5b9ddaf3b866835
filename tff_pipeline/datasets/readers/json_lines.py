"""JSON lines: one object a line, gzipped if the name ends in `.gz`."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from tff_pipeline import errors
from tff_pipeline.datasets.readers import packed

# What a value may be, in words, by Python's type for it.
_WORDS = {str: "text", list: "a list", int: "a whole number"}


def read(path: str, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """All objects of a file.

    Args:
      path: The file; lines that are blank are passed over.
      fields: What every object must have: a name and str, list or int.

    Returns:
      The objects, at least one, in the file's order.

    Raises:
      DataError: If the file cannot be read, or a line is no such object; it
        names the line.
    """
    try:
        lines = packed.read(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); fetch it again."
        ) from None
    objects = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            refuse(path, f"line {number}", f"is not JSON ({error})")
        if "\\u" in line:
            _check_characters(value, path, f"line {number}")
        objects.append(check(value, fields, path, f"line {number}"))
    if not objects:
        refuse(path, "the file", "is empty")
    return objects


def _check_characters(value: Any, path: str, where: str) -> None:
    """Refuses half a pair of surrogates: JSON, but no text to be written."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = json.dumps(error.object[error.start])
        refuse(path, where, f"has {half}, which is half a character")


def check(
    value: Any, fields: Mapping[str, type], path: str, where: str
) -> dict[str, Any]:
    """Returns `value` if it is an object with these fields.

    Raises:
      DataError: If it is not; it names `path` and `where`.
    """
    if not isinstance(value, dict):
        refuse(path, where, f"is not an object with {', '.join(fields)}")
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            has = json.dumps(value.get(name))[:40]
            refuse(path, where, f"needs {name!r}, {_WORDS[kind]}, not {has}")
    return value


def refuse(path: str, where: str, what: str) -> NoReturn:
    """Raises the `DataError` that something in a file is wrong.

    Args:
      path: The file.
      where: In words, such as "line 3".
      what: A verb and all after it.
    """
    raise errors.DataError(
        f"{path}: {where} {what}; mend it, or fetch the file again."
    )
