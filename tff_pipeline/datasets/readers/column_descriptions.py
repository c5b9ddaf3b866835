"""Reads what a user says of columns: their categories and their bounds.

A private run takes from such files what it would else compute from the clients'
data, outside of the privacy plan.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.files import storage

Array = npt.NDArray[Any]

CATEGORIES = ("column", "category")
BOUNDS = ("column", "low", "high")


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """What a user says of columns.

    Attributes:
      categories: The categories of a column by its name, in the file's order.
      bounds: The numbers that nearly all cells of a column lie between, by its
        name, the lower one first.
      flags: The flag and its value by the name of the column that the file
        describes, such as "--categories_file=codes.csv".
    """

    categories: Mapping[str, Sequence[str]]
    bounds: Mapping[str, tuple[float, float]]
    flags: Mapping[str, str]

    def places(self, values: Array, column: str, where: str) -> Array:
        """Returns the place of each value among a column's categories.

        Args:
          values: Text, str [n].
          column: The column's name, which has categories.
          where: Words for what holds the values, for the error.

        Returns:
          int32 [n].

        Raises:
          DataError: If a value is none of the categories.
        """
        known = {name: i for i, name in enumerate(self.categories[column])}
        distinct, inverse = np.unique(values, return_inverse=True)
        for value in distinct:
            if value not in known:
                raise errors.DataError(
                    f"{where} has {str(value)!r}, which is none of the "
                    f"{len(known)} categories that {self.flags[column]} gives "
                    f"the column {column!r}; add it there, or leave those "
                    "examples out."
                )
        return np.array([known[v] for v in distinct], np.int32)[inverse]


def read(
    categories_file: Optional[str], column_bounds_file: Optional[str]
) -> Descriptions:
    """Reads both files.

    Args:
      categories_file: The path of a CSV file with a line `column,category` and
        below it a line for each category of a column.
      column_bounds_file: The path of a CSV file with a line `column,low,high`
        and below it a line a column.

    Raises:
      DataError: If a file cannot be read, a line is not as it should be, or a
        column is described twice.
    """
    categories: dict[str, list[str]] = {}
    bounds: dict[str, tuple[float, float]] = {}
    flags: dict[str, str] = {}
    if categories_file is not None:
        for place, (column, category) in _lines(categories_file, CATEGORIES):
            if not category:
                raise errors.DataError(
                    f"{place} has no category for the column {column!r}; give "
                    "each of its categories a line, or take the line out."
                )
            if category in categories.setdefault(column, []):
                raise errors.DataError(
                    f"{place} gives the column {column!r} a category for the "
                    "second time; take the line out."
                )
            categories[column].append(category)
            flags[column] = f"--categories_file={categories_file}"
    if column_bounds_file is not None:
        for place, (column, *ends) in _lines(column_bounds_file, BOUNDS):
            if column in flags:
                raise errors.DataError(
                    f"{place} describes the column {column!r} for the second "
                    f"time (see {flags[column]}); keep one description: "
                    "categories, or a low and a high bound."
                )
            bounds[column] = _bounds(ends, column, place)
            flags[column] = f"--column_bounds_file={column_bounds_file}"
    return Descriptions(categories, bounds, flags)


def template(header: Sequence[str], columns: Sequence[str]) -> str:
    """Returns the text of a file to be filled in.

    Args:
      header: `CATEGORIES` or `BOUNDS`.
      columns: The columns' names.

    >>> print(template(BOUNDS, ["age", "bp, mm"]), end="")
    column,low,high
    age,,
    "bp, mm",,
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    blank = [""] * (len(header) - 1)
    lines.writerows([column, *blank] for column in columns)
    return text.getvalue()


def _lines(path: str, header: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Returns the lines below the header, each with words for its place."""
    if not storage.exists(path):
        raise errors.DataError(
            f"{path} does not exist; it should be a CSV file that begins with "
            f"the line {','.join(header)} (init --templates writes one to be "
            "filled in)."
        )
    try:
        text = storage.read_text(path).lstrip("\ufeff")
        rows = csv.reader(io.StringIO(text), strict=True)
        numbered = [
            (rows.line_num, [" ".join(cell.split()) for cell in row])
            for row in rows
        ]
    except (OSError, UnicodeError, csv.Error) as error:
        raise errors.DataError(
            f"{path} cannot be read as CSV in UTF-8 ({error}); mend it."
        ) from None
    lines = [(n, row) for n, row in numbered if any(row)]
    if not lines or lines[0][1] != list(header):
        raise errors.DataError(
            f"{path} does not begin with the line {','.join(header)}; put it "
            "above the others."
        )
    for number, row in lines:
        if len(row) != len(header) or not row[0]:
            raise errors.DataError(
                f"{path}: line {number} has {len(row)} cells or no column's "
                f"name; each line is {','.join(header)}."
            )
    return [(f"{path}: line {number}", row) for number, row in lines[1:]]


def _bounds(
    ends: Sequence[str], column: str, place: str
) -> tuple[float, float]:
    try:
        low, high = map(float, ends)
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise errors.DataError(
            f"{place} gives the column {column!r} the bounds "
            f"{ends[0] or 'nothing'} and {ends[1] or 'nothing'}; give two "
            "numbers, the lower one first, between which nearly all of its "
            "cells lie."
        )
    return low, high
