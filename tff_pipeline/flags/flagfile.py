"""Flagfiles: text files of flags, one a line.

absl would read them as well, but whatever file they name in turn: one that lies
elsewhere, or a device without an end.
"""

import os
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors

_FLAGS = ("--flagfile", "-flagfile")


def expanded(arguments: Sequence[str]) -> list[str]:
    """The arguments, each `--flagfile` replaced by the flags in its file.

    Blank lines and those that start with # or // are passed over. A file may
    have a line `--flagfile=other`: another one, in its own folder or below,
    where such a name starts from.

    Args:
      arguments: Of a command line, without the program's name.

    Raises:
      ConfigError: If a file cannot be read, is not UTF-8, or names one that
        lies elsewhere or is read already.
    """
    found: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, path = argument.partition("=")
        if argument == "--":
            return [*found, argument, *waiting]
        if name not in _FLAGS:
            found.append(argument)
            continue
        if not equals:
            path = waiting.pop(0) if waiting else ""
        path = os.path.expanduser(path.strip())
        found += _read(path, os.path.dirname(path), {os.path.realpath(path)})
    return found


def _read(path: str, folder: str, known: set[str]) -> list[str]:
    """The flags in a file.

    Args:
      path: The file.
      folder: Where the files lie that it may name.
      known: Those that are read already, without links; grows.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(
            f"--flagfile={path} cannot be read ({error}); name a text file of "
            "flags, one a line."
        ) from None
    found = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        name, _, other = line.partition("=")
        if not line or line.startswith(("#", "//")):
            continue
        if name not in _FLAGS:
            found.append(line)
            continue
        inner = os.path.join(folder, other.strip())
        real = _file_below(inner, folder)
        if real is None or real in known:
            raise errors.ConfigError(
                f"{path}:{number} has {line!r}; a flagfile may name others in "
                f"{folder or 'its folder'} or below, each once, as in "
                "--flagfile=other.flags."
            )
        known.add(real)
        found += _read(inner, folder, known)
    return found


def _file_below(path: str, folder: str) -> Optional[str]:
    """Where `path` leads, or `None` if that is no file in `folder`."""
    root = os.path.realpath(folder or ".")
    try:
        real = os.path.realpath(path)
        inside = os.path.commonpath([real, root]) == root
    except (OSError, ValueError):  # A zero byte, or a link to itself.
        return None
    return real if inside and os.path.isfile(real) else None
