"""Tables in files: CSV, TSV and Parquet, read as Arrow tables.

Arrow keeps a text cell in its bytes and four more, where Python's strings need
fifty: a table of 5 million cells stays far below 100 MB.
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
# What may stand between cells, in words.
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_QUOTED = re.compile(rb'"(?:[^"]|"")*(?:"|$)')
# What often holds a table but is no table.
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".xlsx", ".xls")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def find(path: str) -> list[str]:
    """The table files that `path`, a file or a folder of them, names.

    Args:
      path: A file that ends in .csv, .tsv (either also in .gz) or .parquet, or
        a folder that has such files in it, which are parts of one table.

    Returns:
      At least one path, in the order of names; a folder's hidden files and
      files with other endings are left out.

    Raises:
      DataError: If there is none, or an archive or spreadsheet.
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
    found = [file for file in files if file.lower().endswith(_ENDINGS)]
    if not found:
        raise errors.DataError(
            f"{path} is no table file and holds none; a table's name ends in "
            f"{', '.join(_ENDINGS)}."
        )
    return found


def column_names(path: str) -> list[str]:
    """The names of a file's columns, in order; "" is a column without one.

    Raises:
      DataError: If the file cannot be read, is empty, has a quote that is not
        closed, or two columns have the same name.
    """
    if path.lower().endswith(_PARQUET):
        try:
            names = pa.parquet.read_schema(path).names
        # The last is of names that are not UTF-8.
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
    """Reads the columns `names` of a file.

    Args:
      path: As `find` gives it.
      names: Of columns that the file has.

    Returns:
      Columns in the order of `names`: from CSV and TSV all of them strings,
      from Parquet of the types that it says.

    Raises:
      DataError: If the file is damaged, a row has other cells than the header,
        or text is not UTF-8.
    """
    try:
        if path.lower().endswith(_PARQUET):
            # Not by `read_table`, which reads folders and their names too.
            with pa.parquet.ParquetFile(path) as file:
                table = file.read(list(names), use_threads=False).select(names)
            # Places of categories, and text, that a damaged file has wrong.
            table.validate(full=True)
            return table
        return pa.csv.read_csv(
            path,
            # One thread, for then an error names the row.
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
            number, wanted, given = map(int, row.groups())
            raise errors.DataError(
                f"{path}: row {number - 1} below the header has {given} cells "
                f"where the header has {wanted}; mend it (the header's cells "
                f"have {_SEPARATORS[_delimiter(path)]} between them; other "
                "cells with such in them need quotes)."
            ) from None
        raise _unreadable(path, error) from None


def _delimiter(path: str) -> str:
    """What the line of names has most of, outside of quotes.

    If it has none, or as many of two, what the file's ending says.
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
    """Names the first line that is not UTF-8; there is one."""
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
