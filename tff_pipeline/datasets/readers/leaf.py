"""Reads the users in a file of the benchmark LEAF (Caldas et al. 2018).

A file is an object {"users": [...], "num_samples": [...], "user_data": {user:
{"x": [...], "y": [...]}}}; "hierarchies", a group for each user, is not used.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tff_pipeline import errors
from tff_pipeline.datasets.readers import json_values


class User(NamedTuple):
    """A user's examples.

    Attributes:
      name: The user.
      x: The inputs, as they stand in the file.
      y: The labels, as many.
      where: The file and the user's place in it, for errors.
    """

    name: str
    x: list[Any]
    y: list[Any]
    where: str


def is_leaf(content: Any) -> bool:
    """Returns whether a value of JSON is meant to be such a file.

    >>> is_leaf({"users": [], "user_data": {}})
    True
    """
    return isinstance(content, dict) and "user_data" in content


def users(content: dict[str, Any], path: str) -> Iterator[User]:
    """Yields the users of a file, in the order of "users".

    Args:
      content: The file's value, for which `is_leaf` holds.
      path: The file, for errors.

    Raises:
      DataError: If a user has no data, or other numbers of examples than
        "num_samples" or than labels.
    """
    data = content["user_data"]
    if not isinstance(data, dict):
        raise _damaged(path, 'has "user_data" that is no object')
    listed = content.get("users", list(data))
    if not isinstance(listed, list):
        raise _damaged(path, 'has "users" that is no list')
    names = _names(listed, path, "user")
    of_name = dict(zip(_names(data, path, 'user of "user_data"'), data))
    if not len({*names}) == len(names) == len(data) == len(of_name):
        raise _damaged(
            path,
            f'has {len({*names})} names in "users" ({len(names)} in all), but '
            f'{len(of_name)} users in "user_data"',
        )
    counts = content.get("num_samples", [None] * len(names))
    if not isinstance(counts, list) or len(counts) != len(names):
        raise _damaged(path, 'has no number in "num_samples" for each user')
    for number, (name, count) in enumerate(zip(names, counts), start=1):
        where = f"{path}: user {number}"
        if name not in of_name:
            raise _damaged(where, 'is in "users" but not in "user_data"')
        value = data[of_name[name]]
        x, y = (
            value.get(key) if isinstance(value, dict) else None for key in "xy"
        )
        if not isinstance(x, list) or not isinstance(y, list):
            raise _damaged(where, "has no lists x and y")
        if len(x) != len(y) or count not in (None, len(y)):
            told = "" if count is None else f' ("num_samples" says {count})'
            raise _damaged(where, f"has {len(x)} x and {len(y)} y{told}")
        yield User(name, x, y, where)


def _names(listed: Iterable[Any], path: str, what: str) -> list[str]:
    return [
        json_values.client_name(user, f"{path}: {what} {number}")
        for number, user in enumerate(listed, start=1)
    ]


def _damaged(where: str, what: str) -> errors.DataError:
    return errors.DataError(
        f"{where} {what}; a LEAF file lists all users, and as many x as y for "
        "each: mend it, or write it again."
    )
