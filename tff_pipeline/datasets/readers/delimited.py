"""Reads text files of rows, as UCI and GroupLens publish them.

Values stay text until `numbers` converts them. A frame's index is the line in
the file, so that errors can name it.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Any, Optional, TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from tff_pipeline import errors
from tff_pipeline.datasets.readers import quotes

Array = npt.NDArray[Any]


def read(
    path: str,
    columns: Optional[Sequence[str]] = None,
    *,
    separator: str = ",",
    comment: Optional[str] = None,
    encoding: str = "utf-8",
) -> pd.DataFrame:
    """Reads a file of rows.

    Args:
      path: The file.
      columns: The names of its columns; by default the values of its first
        row.
      separator: The text between values: ",", with which values may be in
        quotes; " " for blanks of any length; or any other text.
      comment: Start of lines that are skipped.
      encoding: The text's encoding.

    Returns:
      A frame of text without spaces around it, in the file's order; its index
      is the line, from 1.

    Raises:
      DataError: If the file is missing, is not text, has no rows, a row with
        another number of values, or a quote that is not closed; the message
        names the file and the line.
    """
    lines, rows = [], []
    try:
        if separator == ",":
            with open(path, "rb") as raw:
                quotes.check(path, raw, separator)
        with open(path, encoding=encoding, newline="") as file:
            for line, values in _rows(file, separator):
                if not values or (comment and values[0].startswith(comment)):
                    continue
                if columns is None:
                    columns = values
                    _check_unique(path, columns)
                    continue
                if len(values) != len(columns):
                    raise errors.DataError(
                        f"{path}, line {line}, has {len(values)} values where "
                        f"there must be {len(columns)} ({columns[0]} to "
                        f"{columns[-1]}); mend the line, or fetch the file "
                        "again."
                    )
                lines.append(line)
                rows.append(values)
    except FileNotFoundError:
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name its folder."
        ) from None
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); it must be a file that "
            "you may read."
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); it must be text in {encoding}: "
            "save it as such."
        ) from None
    if not rows:
        raise errors.DataError(
            f"{path} has no rows; add some, or fetch it again."
        )
    return pd.DataFrame(rows, index=lines, columns=list(columns or []))


def _rows(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, values) for every line, no values for an empty one."""
    if separator == ",":
        reader = csv.reader(file, skipinitialspace=True)
        for row in reader:
            yield reader.line_num, [value.strip() for value in row]
        return
    for line, text in enumerate(file, start=1):
        values = text.split(None if separator == " " else separator)
        yield line, [value.strip() for value in values] if text.strip() else []


def _check_unique(path: str, columns: Sequence[str]) -> None:
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise errors.DataError(
            f"{path} has two columns named {twice[0]!r}; rename one."
        )


def check_columns(
    path: str, frame: pd.DataFrame, columns: Sequence[str]
) -> None:
    """Checks that a frame has the columns that are needed.

    Args:
      path: The file that it was read from, for errors.
      frame: The frame.
      columns: The names of the columns.

    Raises:
      DataError: If a column is missing.
    """
    missing = [name for name in columns if name not in frame]
    if missing:
        raise errors.DataError(
            f"{path} has no column {missing[0]}; its columns are: "
            f"{', '.join(frame.columns)}."
        )


def numbers(
    path: str,
    frame: pd.DataFrame,
    columns: Sequence[str],
    missing: Optional[str] = None,
) -> Array:
    """Converts columns of a frame to numbers.

    Example:
      >>> frame = pd.DataFrame({"age": ["20", "?"], "id": ["a", "b"]})
      >>> numbers("people.csv", frame, ["age"], missing="?").tolist()
      [[20.0], [nan]]

    Args:
      path: The file that it was read from, for errors.
      frame: A frame of text, with lines as its index.
      columns: The names of the columns.
      missing: The text of a missing value, if values may be missing.

    Returns:
      float64 of shape [rows, columns]; missing values are NaN.

    Raises:
      DataError: If a value is not a number that is finite as a float32; the
        message names the line and the column.
    """
    values = np.empty([len(frame), len(columns)])
    for position, name in enumerate(columns):
        text = frame[name]
        number = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
        # So that it is finite as a float32 too.
        wrong = ~(np.abs(number) <= np.finfo(np.float32).max)
        if missing is not None:
            wrong &= (text != missing).to_numpy()
        if wrong.any():
            line = frame.index[np.argmax(wrong)]
            raise errors.DataError(
                f"{path}, line {line}, has {text[line]!r} in column {name}, "
                "which must be a finite number; mend the line, or fetch the "
                "file again."
            )
        values[:, position] = number
    return values
