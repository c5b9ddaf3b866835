"""Quotes around the cells of CSV, of which readers let one stay open.

All that follows a quote without an end is then one cell, or up to the next
quote wherever that is, and rows are gone without a word.
"""

import re
from collections.abc import Iterable

from tff_pipeline import errors


def check(path: str, lines: Iterable[bytes], separator: str) -> None:
    """Refuses a file in which a quote that opens a cell does not close it.

    A quote within a cell that does not start with one means nothing. A cell may
    go on over the ends of lines, and then what closes it must stand before a
    separator or an end.

    Args:
      path: The file, for errors.
      lines: Its lines with their ends, in an encoding that has ASCII in it.
      separator: What stands between cells, one character.

    Raises:
      DataError: If there is such a quote; the line is named.
    """
    part = separator.encode()
    cell = rb'(?: *"(?:[^"]|"")*"[^"%b]*|[^"%b\r\n]*)' % (part, part)
    # Nearly all lines, at the speed of the matching.
    whole = re.compile(rb"%b(?:%b%b)*[\r\n]*" % (cell, re.escape(part), cell))
    opened = 0
    for number, line in enumerate(lines, start=1):
        if opened or (b'"' in line and not whole.fullmatch(line)):
            opened = _opened_after(path, line, part, number, opened)
    if opened:
        raise errors.DataError(
            f"{path}: line {opened} opens a quote that nothing closes, so that "
            'all below it would be one cell; close it, or write "" for a quote '
            "in a cell."
        )


def _opened_after(
    path: str, line: bytes, part: bytes, number: int, opened: int
) -> int:
    """The line that opened the quote in which `line` ends, or 0."""
    place = 0
    while place < len(line):
        if not opened:
            text = len(line) - len(line[place:].lstrip(b" "))
            if line[text : text + 1] == b'"':
                opened, place = number, text + 1
                continue
            place = line.find(part, place) + 1
            if not place:
                return 0
            continue
        place = line.find(b'"', place) + 1
        if not place:
            return opened
        if line[place : place + 1] == b'"':
            place += 1
            continue
        rest = line[place:].lstrip(b" ")[:1]
        if opened != number and rest not in (part, b"\r", b"\n", b""):
            raise errors.DataError(
                f"{path}: line {opened} opens a quote that is closed within a "
                f"cell of line {number}, so that the rows between would be "
                'one cell; close it where it belongs, or write "" for a quote '
                "in a cell."
            )
        opened = 0
        place = line.find(part, place) + 1
        if not place:
            return 0
    return opened
