"""Reads numbers that are spelt as people and spreadsheets spell them.

A column is decided as a whole: only if all of its cells fit one spelling do
they hold numbers. What fits two spellings, such as `1,234`, is not guessed.
"""

import collections
import re
import unicodedata
from collections.abc import Sequence
from typing import Optional

# What all cells of a column may have before the number, or after it. Letters
# that stand close to digits are part of a code, such as P0007 or 12A.
_BEFORE = re.compile(r"(?P<unit>[A-Z]{3}\.? |\w?[$€£¥₩₹₽₺])(?P<number>.*)")
_AFTER = re.compile(
    r"(?P<number>.*?)(?P<unit> ?[%‰$€£¥₩₹₽₺]| ?°\w?| [^\W\d_][^\d\s]*"
    r"( [^\W\d_][^\d\s]*| ?/ ?[^\s]+|[²³23])?)"
)
_SIGN, _EXPONENT = r"[+-]?", r"(?:[eE][+-]?\d+)?"
_POINT = re.compile(
    rf"{_SIGN}(?:\d{{1,3}}(?:,\d{{3}})+|\d+)?(?:\.\d*)?{_EXPONENT}"
)
_COMMA = re.compile(
    rf"{_SIGN}(?:\d{{1,3}}(?:\.\d{{3}})+|\d+)?(?:,\d*)?{_EXPONENT}"
)
# Marks between thousands that are never a decimal mark.
_GAPS = re.compile(
    "(?<=\\d)['\N{RIGHT SINGLE QUOTATION MARK}\\s](?=\\d{3}(?!\\d))"
)
_MINUS = str.maketrans("\N{MINUS SIGN}\N{EN DASH}\N{SMALL HYPHEN-MINUS}", "---")


class AmbiguousError(ValueError):
    """All numbers of a column fit both decimal marks; the text is one cell."""


def parse(
    cells: Sequence[str], decimal_mark: Optional[str] = None
) -> Optional[list[float]]:
    """Reads the cells of a column as numbers, if all are.

    Digits of all scripts, signs of all kinds (before, after, or brackets around
    the number), marks between thousands, a decimal comma, and one unit that all
    cells have, such as `$`, `%` or `mg`, are understood. Percents stay what is
    written: `7%` is 7.

    Example:
      >>> parse(["1.234,5", "-7"])
      [1234.5, -7.0]
      >>> parse(["$8'000", "($12.5)"])
      [8000.0, -12.5]
      >>> parse(["7", "seven"])

    Args:
      cells: Cells that are not missing, without spaces around them.
      decimal_mark: "." or ","; by default the one that all cells fit.

    Returns:
      A number for each cell, or `None` if they are no numbers of one spelling.

    Raises:
      AmbiguousError: If the cells fit both decimal marks, and are other numbers
        by each.
    """
    plain: list[str] = []
    units: set[str] = set()
    for cell in cells:
        text, unit = _without_unit(_in_ascii(cell))
        if text is None or len(units) > 1:
            return None
        units.add(unit)
        plain.append(text)
    if len(units) > 1:
        return None
    by_point = _numbers(plain, _POINT, ",", ".")
    by_comma = _numbers(plain, _COMMA, ".", ",")
    if decimal_mark is not None:
        return by_point if decimal_mark == "." else by_comma
    if by_point is None or by_comma is None or by_point == by_comma:
        return by_comma if by_point is None else by_point
    raise AmbiguousError(
        next(cell for cell in plain if re.search("[.,]", cell))
    )


def odd_ones(cells: Sequence[str]) -> list[str]:
    """Returns the cells that are no numbers as most of the others are.

    Example:
      >>> odd_ones(["1,5", "2,5", "3.5", "none", "4 mg"])
      ['3.5', 'none', '4 mg']

    Args:
      cells: Cells that are not missing, without spaces around them.
    """
    split = [_without_unit(_in_ascii(cell)) for cell in cells]
    units = collections.Counter(unit for text, unit in split if text)
    if not units:
        return list(cells)
    usual = units.most_common(1)[0][0]
    by_mark = [
        [
            cell
            for cell, (text, unit) in zip(cells, split)
            if text is None or unit != usual or not spelling.fullmatch(text)
        ]
        for spelling in (_POINT, _COMMA)
    ]
    return min(by_mark, key=len)


def _in_ascii(cell: str) -> str:
    """Writes digits and signs in ASCII, and one blank for all kinds of them."""
    cell = " ".join(cell.translate(_MINUS).split())
    if cell.isascii():
        return cell
    return "".join(
        str(unicodedata.decimal(each)) if each.isdecimal() else each
        for each in cell
    )


def _without_unit(cell: str) -> tuple[Optional[str], str]:
    """Returns the number as text with a sign before it, and the unit."""
    negative = cell.startswith("(") and cell.endswith(")")
    if negative:
        cell = cell[1:-1].strip()
    sign = ""
    if cell[:1] in ("+", "-"):
        sign, cell = cell[0], cell[1:].lstrip()
    match = _BEFORE.fullmatch(cell) or _AFTER.fullmatch(cell)
    unit = ""
    if match:
        unit, cell = match["unit"].strip(), match["number"].strip()
    if cell[:1] == "-" and not sign:
        sign, cell = "-", cell[1:]
    if cell.endswith("-") and not sign:
        sign, cell = "-", cell[:-1].rstrip()
    if not re.match(r"[.,]?\d", cell):
        return None, ""
    sign = "-" if negative else sign
    return sign + _GAPS.sub("", cell), unit


def _numbers(
    cells: Sequence[str], spelling: re.Pattern[str], group: str, mark: str
) -> Optional[list[float]]:
    if not all(map(spelling.fullmatch, cells)):
        return None
    return [float(c.replace(group, "").replace(mark, ".")) for c in cells]
