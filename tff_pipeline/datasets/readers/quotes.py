"""Checks that quotes around the cells of CSV are closed.

Readers of CSV accept a quote that is never closed: all that follows it, or all
up to the next quote, becomes one cell, and rows are lost without a message.
"""

import re
from collections.abc import Iterable

from tff_pipeline import errors


def check(path: str, lines: Iterable[bytes], separator: str) -> None:
    """Refuses a file in which a quote that opens a cell does not close it.

    A quote within a cell that does not start with one is text. A cell may span
    several lines; the quote that closes it must then stand before a separator
    or the end of a line.

    Args:
      path: The file, for errors.
      lines: The file's lines with their ends, in an encoding that extends
        ASCII.
      separator: The character between cells.

    Raises:
      DataError: If a quote is not closed; the message names the line.
    """
    part = separator.encode()
    cell = rb'(?: *"(?:[^"]|"")*"[^"%b]*|[^"%b\r\n]*)' % (part, part)
    # Matches nearly all lines, much faster than the loop over characters.
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
    """Returns the number of the line whose quote is open after `line`, or 0."""
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
