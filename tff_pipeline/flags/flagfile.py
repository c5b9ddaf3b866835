"""Flagfiles: text files of flags, one a line.

absl would read them as well, but whatever file they name in turn: one that lies
elsewhere, or a device without an end; and it would take quotes, comments and ~
for parts of a value, which a shell would not.
"""

import codecs
import os
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple, Optional

import tff_pipeline
from tff_pipeline import errors

_FLAGS = ("--flagfile", "-flagfile")
# Flags of several names, where double quotes part one name from the next.
_LISTS = (
    *("--feature_columns", "--categorical_columns", "--label_column"),
    "--missing_values",
)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NAME_AND_VALUE = re.compile(r"(--?\w+)\s+([^=\s].*)")
# What ends a line without being part of its value: a comment, and the shell's
# sign that a command goes on.
_TRAILING = re.compile(r"\s+(#.*|\\)$")
_QUOTED = re.compile(r"""(["'])(.*)\1(?:\s+(?:#.*|\\))?""")
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")
_PACKAGE = os.path.dirname(os.path.abspath(tff_pipeline.__file__))
_OWN = "configs"


class Argument(NamedTuple):
    """An argument of the command line, or of a file that it names.

    Attributes:
      text: The argument, such as "--seed=7".
      file: The flagfile that has it; `None` for the command line itself.
    """

    text: str
    file: Optional[str] = None


def expanded(
    arguments: Sequence[str], paths: Collection[str] = ()
) -> list[Argument]:
    r"""Replaces each `--flagfile` among arguments by the flags in that file.

    A file that is not found, and whose name begins with configs/, is taken from
    the package. In a file, blank lines and lines that start with # or // are
    ignored, and so is a # after a blank with what follows it. Quotes around a
    value are taken off; what is in single quotes is taken as it is. A file may
    have a line `--flagfile=other`, which names another file relative to its own
    folder, in that folder or below it.

    Args:
      arguments: A command line's, without the program's name.
      paths: The names of flags, without dashes, that hold a path: a ~ at its
        start is the home folder, and in a file $NAME is the environment's.

    Returns:
      The arguments with the files' lines in the place of the files' names.

    Raises:
      ConfigError: If a file cannot be read, is neither UTF-8 nor UTF-16, names
        a file that lies elsewhere or was read already, or a variable that is
        not set.

    Example:
      >>> import os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "quick.flags")
      >>> with open(path, "w") as file:
      ...     _ = file.write("--label_column='is sick'  # A comment.\n")
      >>> flags = expanded([f"--flagfile={path}", "--seed=8"])
      >>> [argument.text for argument in flags]
      ['--label_column=is sick', '--seed=8']
      >>> [argument.file == path for argument in flags]
      [True, False]
    """
    lines: list[Argument] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        if argument == "--":
            return [*lines, *map(Argument, [argument, *waiting])]
        if name not in _FLAGS:
            if equals and name.lstrip("-") in paths:
                argument = f"{name}={os.path.expanduser(value)}"
            lines.append(Argument(argument))
            continue
        if not equals:
            value = waiting.pop(0) if waiting else ""
        path = _found(os.path.expanduser(value.strip()))
        folder = os.path.dirname(path)
        lines += _read(path, folder, {os.path.realpath(path)}, paths)
    return lines


def _found(path: str) -> str:
    """Returns the path, or that of the package's own file of this name."""
    own = os.path.normpath(os.path.join(_PACKAGE, path))
    inside = own.startswith(os.path.join(_PACKAGE, _OWN, ""))
    if not os.path.exists(path) and inside and os.path.isfile(own):
        return own
    return path


def _read(
    path: str, folder: str, known: set[str], paths: Collection[str]
) -> list[Argument]:
    """Returns the flags in a file.

    Args:
      path: The file.
      folder: The folder of the files that it may name.
      known: Real paths of the files that were read already; grows.
      paths: As for `expanded`.
    """
    flags: list[Argument] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line or line.startswith(("#", "//")):
            continue
        place = f"{path}:{number}"
        argument = _argument(line, place, paths)
        name, _, other = argument.partition("=")
        if name not in _FLAGS:
            flags.append(Argument(argument, path))
            continue
        inner = os.path.join(folder, other)
        real = _file_below(inner, folder)
        if real is None or real in known:
            raise errors.ConfigError(
                f"{place} has {line!r}; a flagfile may name others in "
                f"{folder or 'its folder'} or below, each once, as in "
                "--flagfile=other.flags."
            )
        known.add(real)
        flags += _read(inner, folder, known, paths)
    return flags


def _lines(path: str) -> list[str]:
    """Returns a file's lines without spaces around them."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        # Either begins with a mark in files of some editors, UTF-16 always.
        encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
        return [line.strip() for line in content.decode(encoding).split("\n")]
    except (OSError, ValueError) as error:  # A path may have a zero byte.
        raise errors.ConfigError(
            f"--flagfile={path} cannot be read ({error}); name a text file of "
            "flags, one a line, or one of the package's, such as "
            "configs/quickstart.flags."
        ) from None


def _argument(line: str, place: str, paths: Collection[str]) -> str:
    """Returns what a line means: a flag, "=" and its value, or a flag alone."""
    name, equals, value = line.partition("=")
    apart = _NAME_AND_VALUE.fullmatch(_TRAILING.sub("", line))
    if apart and " " in name.strip():
        name, value = apart.groups()
    elif not equals:
        return _TRAILING.sub("", line)
    name, value = name.strip(), value.strip()
    quoted = _QUOTED.fullmatch(value)
    if quoted and quoted[1] == "'":
        return f"{name}={quoted[2]}"
    if quoted and name not in _LISTS:
        value = quoted[2]
    else:
        value = _TRAILING.sub("", value)
    if name.lstrip("-") in paths:
        value = os.path.expanduser(_with_variables(value, place))
    return f"{name}={value}"


def _with_variables(value: str, place: str) -> str:
    """Replaces $NAME and ${NAME} by the environment's values."""

    def value_of(match: "re.Match[str]") -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise errors.ConfigError(
                f"{place} names the variable ${name}, which is not set; set "
                "it, or put the value in single quotes if the $ is part of it."
            )
        return os.environ[name]

    return _VARIABLE.sub(value_of, value)


def _file_below(path: str, folder: str) -> Optional[str]:
    """Returns the real path, or `None` if that is no file in `folder`."""
    root = os.path.realpath(folder or ".")
    try:
        real = os.path.realpath(path)
        inside = os.path.commonpath([real, root]) == root
    except (OSError, ValueError):  # A zero byte, or a link to itself.
        return None
    return real if inside and os.path.isfile(real) else None
