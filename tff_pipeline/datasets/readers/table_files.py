"""Reads tables from CSV, TSV and Parquet files as Arrow tables.

Arrow needs four bytes more than the text of a cell, Python's strings need fifty
more: a table of 5 million cells stays far below 100 MB.
"""

import csv
import gzip
import os
import re
import zlib
from collections.abc import Sequence
from typing import IO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tff_pipeline import errors
from tff_pipeline.datasets.readers import quotes

_PARQUET = ".parquet"
_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", _PARQUET)
# Separators between cells, and words for them.
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_QUOTED = re.compile(rb'"(?:[^"]|"")*(?:"|$)')
# Endings of files that often hold a table but are none.
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".xlsx", ".xls")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def find(path: str) -> list[str]:
    """Finds the files of a table.

    Args:
      path: A file that ends in .csv, .tsv (or either with .gz) or .parquet, or
        a folder of such files, which are parts of one table.

    Returns:
      At least one path, in the order of names. A folder's hidden files and
      files with other endings are left out.

    Raises:
      DataError: If there is no such file, or there is an archive or a
        spreadsheet.
    """
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if not n.startswith("."))
        files = [os.path.join(path, name) for name in names]
    elif os.path.exists(path):
        files = [path]
    else:
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name a table's file or a "
            "folder of its files."
        )
    for file in files:
        if file.lower().endswith(_PACKED):
            raise errors.DataError(
                f"{file} is an archive or a spreadsheet, which is not opened; "
                f"save what is in it as {' or '.join(_ENDINGS)}."
            )
    tables = [file for file in files if file.lower().endswith(_ENDINGS)]
    if not tables:
        raise errors.DataError(
            f"{path} is no table file and holds none; a table's name ends in "
            f"{', '.join(_ENDINGS)}."
        )
    return tables


def column_names(path: str) -> list[str]:
    """Reads the names of a file's columns.

    Args:
      path: A file that `find` returned.

    Returns:
      The names in the file's order; "" for a column without a name.

    Raises:
      DataError: If the file cannot be read, is empty, has a quote that is not
        closed, or two columns have the same name.
    """
    if path.lower().endswith(_PARQUET):
        try:
            names = pa.parquet.read_schema(path).names
        # The last comes from names that are not UTF-8.
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from None
        names = [name for name in names if not _PANDAS_INDEX.fullmatch(name)]
    else:
        names = _header(path)
    for name in names:
        if names.count(name) > 1:
            raise errors.DataError(
                f"{path} has {names.count(name)} columns named {name!r}; give "
                "each a name of its own."
            )
    return names


def _header(path: str) -> list[str]:
    try:
        delimiter = _delimiter(path)
        with _opened(path) as file:
            quotes.check(path, file, delimiter)
        with _opened(path) as file:
            text = (line.decode("utf-8-sig") for line in file)
            return next(csv.reader(text, delimiter=delimiter))
    except StopIteration:
        raise errors.DataError(
            f"{path} is empty; a table starts with a line of column names."
        ) from None
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise _unreadable(path, error) from None


def read(path: str, names: Sequence[str]) -> pa.Table:
    """Reads columns of a file.

    Args:
      path: A file that `find` returned.
      names: Names of columns that the file has.

    Returns:
      The columns in the order of `names`: strings from CSV and TSV, the file's
      types from Parquet.

    Raises:
      DataError: If the file is damaged, a row has more or fewer cells than the
        header, or text is not UTF-8.
    """
    try:
        if path.lower().endswith(_PARQUET):
            # Not by `read_table`, which reads folders and their names too.
            with pa.parquet.ParquetFile(path) as file:
                table = file.read(list(names), use_threads=False).select(names)
            # Damaged files have wrong places of categories, and wrong text.
            table.validate(full=True)
            return table
        return pa.csv.read_csv(
            path,
            # One thread, so that errors name the row.
            read_options=pa.csv.ReadOptions(use_threads=False),
            parse_options=pa.csv.ParseOptions(
                delimiter=_delimiter(path), newlines_in_values=True
            ),
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(names),
                column_types={name: pa.string() for name in names},
                strings_can_be_null=False,
            ),
        )
    except (OSError, pa.ArrowException) as error:
        if "UTF8" in str(error):
            raise _not_utf8(path) from None
        row = re.search(
            r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error)
        )
        if row:
            number, expected, count = map(int, row.groups())
            raise errors.DataError(
                f"{path}: row {number - 1} below the header has {count} cells "
                f"where the header has {expected}; mend it (the header's cells "
                f"have {_SEPARATORS[_delimiter(path)]} between them; other "
                "cells with such in them need quotes)."
            ) from None
        raise _unreadable(path, error) from None


def _delimiter(path: str) -> str:
    """Returns the most frequent separator in the header, outside of quotes.

    If there is none, or two are as frequent, the file's ending decides.
    """
    with _opened(path) as file:
        names = _QUOTED.sub(b"", file.readline())
    usual = "," if ".csv" in path.lower()[-len(".csv.gz") :] else "\t"
    return max(
        _SEPARATORS,
        key=lambda each: (names.count(each.encode()), each == usual),
    )


def _opened(path: str) -> IO[bytes]:
    if path.lower().endswith(".gz"):
        return gzip.open(path)  # type: ignore[return-value]
    return open(path, "rb")


def _unreadable(path: str, error: Exception) -> errors.DataError:
    reason = str(error).strip().rstrip(".")
    return errors.DataError(
        f"{path} cannot be read ({reason}); it may be damaged or only half "
        "there: fetch or write it again."
    )


def _not_utf8(path: str) -> errors.DataError:
    """Builds the error that names the first line that is not UTF-8."""
    position = 0
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                wrong = line[error.start]
                return errors.DataError(
                    f"{path}: line {number} has the byte 0x{wrong:02x} (byte "
                    f"{position + error.start} of the file), which is not "
                    "UTF-8; save the whole file as UTF-8."
                )
            position += len(line)
    return errors.DataError(f"{path} is not UTF-8; save it as UTF-8.")
