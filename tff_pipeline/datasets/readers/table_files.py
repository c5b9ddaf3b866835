"""Reads tables from CSV, TSV and Parquet files as Arrow tables.

Arrow needs four bytes more than the text of a cell, Python's strings need fifty
more: a table of 5 million cells stays far below 100 MB.
"""

import collections
import hashlib
import os
import re
import urllib.parse
from collections.abc import Sequence
from typing import Optional

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tff_pipeline import errors
from tff_pipeline.datasets.readers import other_kinds, table_text

_PARQUET = ".parquet"
_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", _PARQUET)
# Endings of files that often hold a table but are none.
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".xlsx", ".xls")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
# A folder as Hive and Spark name it, whose files share a column's value.
_HIVE = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find(path: str) -> list[str]:
    """Finds the files of a table.

    Args:
      path: A file that ends in .csv, .tsv (or either with .gz) or .parquet, or
        a folder of such files, which are parts of one table. Folders in it that
        are named `column=value` hold further parts.

    Returns:
      At least one path, in the order of names. A folder's hidden files and
      files with other endings are left out.

    Raises:
      DataError: If there is no such file, there is an archive or a spreadsheet,
        or two files hold the same rows.
    """
    if os.path.isdir(path):
        files = list(_in_folder(path))
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
    folder = None if tables else _folder_of_tables(path)
    if folder is not None:
        raise errors.DataError(
            f"{folder} holds tables, but only folders named column=value, such "
            "as hospital=North, are parts of the table above: rename the "
            f"folders in {path} so, or put all files into one."
        )
    if not tables:
        advice = other_kinds.advice(
            path,
            other_kinds.TABLE,
            f"a table's name ends in {', '.join(_ENDINGS)}",
        )
        raise errors.DataError(
            f"{path} is no table file and holds none; {advice}."
        )
    _check_are_parts(tables)
    return tables


def _folder_of_tables(path: str) -> Optional[str]:
    """Finds a folder in a folder that holds tables but is not searched."""
    if not os.path.isdir(path):
        return None
    for name in sorted(os.listdir(path)):
        whole = os.path.join(path, name)
        if os.path.isdir(whole) and has_tables(whole):
            return whole
    return None


def has_tables(path: str) -> bool:
    """Returns whether a folder holds files whose names end as tables' do.

    Args:
      path: The folder.
    """
    return any(
        file.lower().endswith((*_ENDINGS, *_PACKED))
        for file in _in_folder(path)
    )


def _in_folder(path: str) -> list[str]:
    """Returns the files of a folder and of its `column=value` folders."""
    files = []
    for name in sorted(os.listdir(path)):
        whole = os.path.join(path, name)
        if name.startswith((".", "_")):
            continue
        if os.path.isdir(whole) and _HIVE.fullmatch(name):
            files += _in_folder(whole)
        else:
            files.append(whole)
    return files


def _check_are_parts(files: Sequence[str]) -> None:
    """Raises `DataError` if two files are one table in two forms, or equal."""
    stems: dict[str, str] = {}
    of_size = collections.defaultdict(list)
    for file in files:
        stem = os.path.join(os.path.dirname(file), file_name(file))
        if stem in stems:
            raise errors.DataError(
                f"{file} and {stems[stem]} have one name and would both be "
                "read, as parts of one table; take one out of the folder."
            )
        stems[stem] = file
        of_size[os.path.getsize(file)].append(file)
    for same in of_size.values():
        hashes: dict[bytes, str] = {}
        for file in same if len(same) > 1 else ():
            with open(file, "rb") as content:
                digest = hashlib.sha256(content.read()).digest()
            if digest in hashes:
                raise errors.DataError(
                    f"{file} and {hashes[digest]} are the same, so that each "
                    "row would be there twice; take one out of the folder."
                )
            hashes[digest] = file


def file_name(path: str) -> str:
    """Returns a file's name without its folder and endings.

    >>> file_name("sites/North.csv.gz")
    'North'
    """
    name = os.path.basename(path)
    for ending in (".gz", ".csv", ".tsv", ".parquet"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def folder_columns(path: str, root: str) -> dict[str, str]:
    """Returns the columns that the names of a file's folders give.

    Args:
      path: A file that `find` returned.
      root: What `find` was given.

    Returns:
      The value of each column, "" where it is missing.

    >>> folder_columns("data/hospital=North/a.parquet", "data")
    {'hospital': 'North'}
    """
    found = {}
    for folder in os.path.relpath(path, root).split(os.sep)[:-1]:
        match = _HIVE.fullmatch(folder)
        if match:
            key, value = map(urllib.parse.unquote, match.groups())
            found[key] = "" if value == _NO_VALUE else value
    return found


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
            raise table_text.unreadable(path, error) from None
        names = [name for name in names if not _PANDAS_INDEX.fullmatch(name)]
    else:
        table_text.check_quotes(path)
        names = table_text.layout(path).names
    for name in names:
        if names.count(name) > 1:
            raise errors.DataError(
                f"{path} has {names.count(name)} columns named {name!r}; give "
                "each a name of its own."
            )
    return names


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
        layout = table_text.layout(path)
        written = dict(zip(layout.names, layout.written))
        with table_text.opened(path) as text:
            table = pa.csv.read_csv(
                text,
                # One thread, so that errors name the row.
                read_options=pa.csv.ReadOptions(
                    use_threads=False, skip_rows=layout.skipped
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=layout.delimiter, newlines_in_values=True
                ),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=[written[name] for name in names],
                    column_types={written[n]: pa.string() for n in names},
                    strings_can_be_null=False,
                ),
            )
        return _without_end(table.rename_columns(list(names)), path)
    except (OSError, pa.ArrowException) as error:
        if "UTF8" in str(error):
            raise table_text.not_utf8(path) from None
        row = re.search(
            r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error)
        )
        if row:
            number, expected, count = map(int, row.groups())
            parts = table_text.SEPARATORS.get(layout.delimiter, "separators")
            raise errors.DataError(
                f"{path}: row {number - 1} below the header has {count} cells "
                f"where the header has {expected}; mend it (the header's cells "
                f"have {parts} between them; other cells with such in them "
                "need quotes)."
            ) from None
        raise table_text.unreadable(path, error) from None


def _without_end(table: pa.Table, path: str) -> pa.Table:
    """Takes rows without any cell off the end, which spreadsheets leave."""
    rows = table.num_rows
    if not rows or any(str(each[rows - 1]).strip() for each in table.columns):
        return table  # What is not read may hold something, so lines decide.
    return table.slice(0, rows - table_text.empty_lines_at_the_end(path))
