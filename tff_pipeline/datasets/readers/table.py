"""Reads a table's columns, and tells numbers from categories.

In a Parquet file a column's type decides. In a CSV or TSV file a column holds
numbers if all of its cells that are not missing are numbers, and otherwise
categories. But a column in which at most a tenth of the distinct cells, or at
most a hundredth of all cells, are not numbers is refused as one of numbers with
mistakes: a typing error must not turn amounts into thousands of categories.
"""

import dataclasses
import re
from collections.abc import Collection
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tff_pipeline import errors
from tff_pipeline.datasets.readers import table_files

Array = npt.NDArray[Any]

# Cells that stand for a missing value, without spaces around them.
MISSING = (
    *("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>"),
    *("NaN", "nan", "NULL", "null", "None"),
)
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
_FEW_DISTINCT, _FEW = 0.1, 0.01
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's cells.

    Attributes:
      name: The column's name.
      values: Of shape [rows]: numbers are float64, NaN where missing;
        categories are int32, the place in `categories`, -1 where missing.
      categories: The distinct cells, sorted, without spaces around them;
        `None` for numbers.
    """

    name: str
    values: Array
    categories: Optional[tuple[str, ...]] = None

    @property
    def missing(self) -> Array:
        """Missing cells, bool of shape [rows]."""
        if self.categories is None:
            return np.isnan(self.values)
        return self.values < 0

    def strings(self) -> Array:
        """Returns the text of categories, of shape [rows], "" where missing.

        Example:
          >>> Column("color", np.array([1, -1]), ("blue", "red")).strings()
          array(['red', ''], dtype='<U4')
        """
        assert self.categories is not None
        return np.array([*self.categories, ""])[self.values]


class Table:
    """A table in one or several files, of which chosen columns are read.

    Attributes:
      names: The names of its columns, in the file's order.
    """

    def __init__(self, path: str):
        """Finds the files and reads the columns' names.

        Args:
          path: A file or a folder, see `table_files.find`.

        Raises:
          DataError: If there are no files, one is damaged, or their columns
            differ.
        """
        self._path = path
        self._files = table_files.find(path)
        self.names = table_files.column_names(self._files[0])
        for file in self._files[1:]:
            odd = set(self.names) ^ set(table_files.column_names(file))
            if odd:
                raise errors.DataError(
                    f"{file} and {self._files[0]} are parts of one table, but "
                    f"only one of them has the column {sorted(odd)[0]!r}; give "
                    "them the same columns."
                )
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._rows: list[int] = []

    def require(self, name: str, flag: str) -> None:
        """Checks that a flag names a column of the table.

        Args:
          name: The column's name.
          flag: The flag that names it.

        Raises:
          DataError: If there is no such column; the message lists all.
        """
        if name not in self.names:
            raise errors.DataError(
                f"--{flag} names the column {name!r}, which {self._path} does "
                f"not have; it has: {', '.join(self.names)}."
            )

    def load(self, names: Collection[str]) -> int:
        """Reads columns into memory.

        Args:
          names: The columns' names.

        Returns:
          The number of rows.

        Raises:
          DataError: If a file is damaged, types differ among files, or there
            are no rows.
        """
        chosen = [name for name in self.names if name in names]
        parts = [table_files.read(file, chosen) for file in self._files]
        for file, part in zip(self._files, parts):
            for name in chosen:
                if part[name].type != parts[0][name].type:
                    raise errors.DataError(
                        f"{file} has {part[name].type} in the column {name!r}, "
                        f"but {self._files[0]} has {parts[0][name].type}; give "
                        "them the same type."
                    )
        self._rows = [part.num_rows for part in parts]
        if not sum(self._rows):
            raise errors.DataError(
                f"{self._path} has column names but no rows; give it some."
            )
        whole = pa.concat_tables(parts)
        self._columns = {name: whole[name] for name in chosen}
        return whole.num_rows

    def place(self, row: int) -> str:
        """Names a row for users, such as "data.csv: row 3 below the header".

        Args:
          row: The row, counted from 0 over all files.

        Raises:
          IndexError: If there is no such row.
        """
        for file, count in zip(self._files, self._rows):
            if row < count:
                return f"{file}: row {row + 1} below the header"
            row -= count
        raise IndexError(row)

    def text(self, name: str) -> Column:
        """Returns a loaded column as categories, and releases its memory.

        Args:
          name: The column's name.

        Raises:
          DataError: If it holds neither numbers nor text.
        """
        return _categories(name, self._cells(name))

    def codes(self, name: str) -> Column:
        """Returns a loaded column of codes, and releases its memory.

        Codes are categories as they are written, so that 250.1 and 250.10, or
        1 and 001, are two. Only in a column of whole numbers 1.0 is 1.

        Args:
          name: The column's name.

        Raises:
          DataError: If it holds neither numbers nor text.
        """
        cells = self._cells(name)
        if all(map(_WHOLE.fullmatch, pc.unique(cells).drop_null().to_pylist())):
            cells = pc.replace_substring_regex(cells, r"\.0*$", "")
        return _categories(name, cells)

    def take(self, name: str, strict: bool = True) -> Column:
        """Returns a loaded column, and releases its memory.

        Args:
          name: The column's name.
          strict: Whether to refuse a column of numbers with mistakes in it;
            otherwise it holds categories.

        Returns:
          The column; numbers or categories as the module's text tells.

        Raises:
          DataError: If it is refused, or holds numbers that are infinite or
            beyond float32, or neither numbers nor text.
        """
        kind = self._columns[name].type
        if _is_number(kind):
            numbers = pc.cast(self._columns.pop(name), pa.float64(), safe=False)
            return self._numbers(name, numbers)
        cells = self._cells(name)
        if self._is_delimited():
            parsed = self._parsed(name, cells, strict)
            if parsed is not None:
                return self._numbers(name, parsed)
        return _categories(name, cells)

    def _cells(self, name: str) -> pa.ChunkedArray:
        """Returns the cells as text, null where missing."""
        cells = self._columns.pop(name)
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        kind = cells.type
        if not (
            _is_number(kind)
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_boolean(kind)
            or _is_date(kind)
        ):
            raise errors.DataError(
                f"The column {name!r} of {self._path} is of type {kind}, "
                "neither numbers nor text; turn it into one of them, or leave "
                "it out of --feature_columns."
            )
        cells = pc.ascii_trim_whitespace(pc.cast(cells, pa.string()))
        absent = pc.is_in(cells, pa.array(MISSING))
        return pc.if_else(absent, pa.scalar(None, pa.string()), cells)

    def _is_delimited(self) -> bool:
        return not self._files[0].lower().endswith(".parquet")

    def _parsed(
        self, name: str, cells: pa.ChunkedArray, strict: bool
    ) -> Optional[pa.ChunkedArray]:
        """Converts cells to numbers; `None` if the column has categories."""
        try:
            return pc.cast(cells, pa.float64())
        except pa.ArrowInvalid:
            pass
        distinct = pc.unique(cells).drop_null().to_pandas()
        numbers = pd.to_numeric(distinct, errors="coerce")
        wrong = distinct[numbers.isna()].tolist()
        if not wrong:
            # Some numbers, such as +1, are none to Arrow.
            encoded = cells.dictionary_encode().combine_chunks()
            values = pd.to_numeric(encoded.dictionary.to_pandas()).astype(float)
            known = np.append(values.to_numpy(), np.nan)
            codes = pc.fill_null(encoded.indices, len(values)).to_numpy(False)
            return pa.chunked_array([pa.array(known[codes], from_pandas=True)])
        strange = pc.sum(pc.is_in(cells, pa.array(wrong))).as_py()
        present = len(cells) - cells.null_count
        if not strict or (
            len(wrong) > _FEW_DISTINCT * len(distinct)
            and strange > _FEW * present
        ):
            return None
        row = pc.index(cells, wrong[0]).as_py()
        raise errors.DataError(
            f"{self.place(row)} has {wrong[0]!r} in the column {name!r}, which "
            f"holds numbers but for {strange} of {present} cells; mend or "
            "empty the cell, or name the column in --categorical_columns."
        )

    def _numbers(self, name: str, cells: pa.ChunkedArray) -> Column:
        values = cells.to_numpy().astype(np.float64, copy=False)
        wrong = np.abs(values) > _LARGEST
        if wrong.any():
            row = int(np.argmax(wrong))
            raise errors.DataError(
                f"{self.place(row)} has {values[row]:g} in the column "
                f"{name!r}; a number must be finite and at most "
                f"{_LARGEST:.1e}: mend or empty the cell."
            )
        return Column(name, values)


def _is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    )


def _is_date(kind: pa.DataType) -> bool:
    return (
        pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_time(kind)
    )


def _categories(name: str, cells: pa.ChunkedArray) -> Column:
    encoded = cells.dictionary_encode().combine_chunks()
    distinct = encoded.dictionary.to_pylist()
    order = sorted(range(len(distinct)), key=distinct.__getitem__)
    rank = np.empty(len(distinct) + 1, np.int32)
    rank[order] = np.arange(len(distinct), dtype=np.int32)
    rank[-1] = -1
    codes = pc.fill_null(encoded.indices, len(distinct)).to_numpy(False)
    return Column(name, rank[codes], tuple(distinct[i] for i in order))
