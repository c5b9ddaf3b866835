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
    r"""Replaces each `--flagfile` among arguments by the flags in that file.

    Blank lines and lines that start with # or // are ignored. A file may have a
    line `--flagfile=other`, which names another file relative to its own
    folder, in that folder or below it.

    Args:
      arguments: A command line's, without the program's name.

    Returns:
      The arguments with the files' lines in the place of the files' names.

    Raises:
      ConfigError: If a file cannot be read, is not UTF-8, or names a file that
        lies elsewhere or was read already.

    Example:
      >>> import os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "quick.flags")
      >>> with open(path, "w") as file:
      ...     _ = file.write("# A comment.\n--task=digits_2nn\n--seed=7\n")
      >>> expanded([f"--flagfile={path}", "--seed=8"])
      ['--task=digits_2nn', '--seed=7', '--seed=8']
    """
    lines: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, path = argument.partition("=")
        if argument == "--":
            return [*lines, argument, *waiting]
        if name not in _FLAGS:
            lines.append(argument)
            continue
        if not equals:
            path = waiting.pop(0) if waiting else ""
        path = os.path.expanduser(path.strip())
        lines += _read(path, os.path.dirname(path), {os.path.realpath(path)})
    return lines


def _read(path: str, folder: str, known: set[str]) -> list[str]:
    """Returns the flags in a file.

    Args:
      path: The file.
      folder: The folder of the files that it may name.
      known: Real paths of the files that were read already; grows.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigError(
            f"--flagfile={path} cannot be read ({error}); name a text file of "
            "flags, one a line."
        ) from None
    flags: list[str] = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        name, _, other = line.partition("=")
        if not line or line.startswith(("#", "//")):
            continue
        if name not in _FLAGS:
            flags.append(line)
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
        flags += _read(inner, folder, known)
    return flags


def _file_below(path: str, folder: str) -> Optional[str]:
    """Returns the real path, or `None` if that is no file in `folder`."""
    root = os.path.realpath(folder or ".")
    try:
        real = os.path.realpath(path)
        inside = os.path.commonpath([real, root]) == root
    except (OSError, ValueError):  # A zero byte, or a link to itself.
        return None
    return real if inside and os.path.isfile(real) else None
