"""Reads chosen columns of a table in one file or in several parts."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tff_pipeline import errors
from tff_pipeline.datasets.readers import cells, number_spelling, table_files
from tff_pipeline.datasets.readers.column import MISSING, Column

Array = npt.NDArray[Any]

# A column that every table in several files has beside its own.
FILE_NAME = "file_name"
_LARGEST = float(np.finfo(np.float32).max)


class Table:
    """A table in one or several files, of which chosen columns are read.

    Attributes:
      names: The names of its columns, in the file's order, then those that
        folders named `column=value` give.
      files: The paths of its files.
    """

    def __init__(
        self,
        path: str,
        missing: Sequence[str] = MISSING,
        decimal_mark: Optional[str] = None,
    ):
        """Finds the files and reads the columns' names.

        Args:
          path: A file or a folder, see `table_files.find`.
          missing: The cells that stand for a missing value.
          decimal_mark: What stands before decimals in CSV and TSV, "." or ",";
            by default what a column's cells fit.

        Raises:
          DataError: If there are no files, one is damaged, or their columns
            differ.
        """
        self._path = path
        self._missing = tuple(missing)
        self._decimal_mark = decimal_mark
        self.files = table_files.find(path)
        self.names = table_files.column_names(self.files[0])
        for file in self.files[1:]:
            odd = set(self.names) ^ set(table_files.column_names(file))
            if odd:
                raise errors.DataError(
                    f"{file} and {self.files[0]} are parts of one table, but "
                    f"only one of them has the column {sorted(odd)[0]!r}; give "
                    "them the same columns."
                )
        self._of_folders = [
            table_files.folder_columns(file, path) for file in self.files
        ]
        keys = self._of_folders[0].keys()
        for file, found in zip(self.files, self._of_folders):
            if found.keys() != keys or keys & {*self.names}:
                raise errors.DataError(
                    f"{file} is in other folders named column=value than "
                    f"{self.files[0]}, or has a column of that name itself; "
                    "put all parts of a table in folders of the same columns."
                )
        self.names = [*self.names, *keys]
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
        if name not in self.names and not self._is_file_name(name):
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
        chosen = [
            name
            for name in [*self.names, FILE_NAME]
            if name in names and (name in self.names or len(self.files) > 1)
        ]
        parts = [
            self._part(number, chosen) for number in range(len(self.files))
        ]
        try:
            whole = pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException:
            raise self._differing(parts) from None
        if not whole.num_rows:
            raise errors.DataError(
                f"{self._path} has column names but no rows; give it some."
            )
        self._rows = [part.num_rows for part in parts]
        self._columns = {name: whole[name] for name in chosen}
        return whole.num_rows

    def _is_file_name(self, name: str) -> bool:
        return name == FILE_NAME and len(self.files) > 1

    def _part(self, number: int, chosen: Sequence[str]) -> pa.Table:
        """Reads a file, and adds what its name and its folders say."""
        file, of_folders = self.files[number], self._of_folders[number]
        said = dict(of_folders)
        if FILE_NAME not in self.names:
            said[FILE_NAME] = table_files.file_name(file)
        part = table_files.read(file, [n for n in chosen if n not in said])
        for place, name in enumerate(chosen):
            if name in said:
                same = pa.repeat(pa.scalar(said[name]), part.num_rows)
                part = part.add_column(place, name, same)
        return part

    def _differing(self, parts: Sequence[pa.Table]) -> errors.DataError:
        for file, part in zip(self.files, parts):
            for name in part.column_names:
                kinds = parts[0][name].type, part[name].type
                if kinds[0] != kinds[1] and not all(
                    map(cells.is_number, kinds)
                ):
                    return errors.DataError(
                        f"{file} has {kinds[1]} in the column {name!r}, but "
                        f"{self.files[0]} has {kinds[0]}; give them the same "
                        "type."
                    )
        return errors.DataError(
            f"The parts of {self._path} differ in the types of their columns; "
            "give them the same types."
        )

    def place(self, row: int) -> str:
        """Names a row for users, such as "data.csv: row 3 below the header".

        Args:
          row: The row, counted from 0 over all files.

        Raises:
          IndexError: If there is no such row.
        """
        for file, count in zip(self.files, self._rows):
            if row < count:
                return f"{file}: row {row + 1} below the header"
            row -= count
        raise IndexError(row)

    def is_readable(self, name: str) -> bool:
        """Returns whether a loaded column holds numbers or text.

        Args:
          name: The column's name.
        """
        return cells.is_text(self._columns[name].type)

    def text(self, name: str) -> Column:
        """Returns a loaded column as the text it is, and releases its memory.

        Args:
          name: The column's name.

        Raises:
          DataError: If it holds neither numbers nor text.
        """
        return self._categories(name, self._text(name))

    def codes(self, name: str) -> Column:
        """Returns a loaded column of codes, and releases its memory.

        Codes are categories as they are written, so that 250.1 and 250.10, or
        1 and 001, are two. Only in a column of whole numbers 1.0 is 1.

        Args:
          name: The column's name.

        Raises:
          DataError: If it holds neither numbers nor text.
        """
        return self._categories(name, cells.without_zeros(self._text(name)))

    def take(self, name: str, strict: bool = True) -> Column:
        """Returns a loaded column, and releases its memory.

        Args:
          name: The column's name.
          strict: Whether to refuse a column of numbers with mistakes in it;
            otherwise it holds categories.

        Returns:
          The column; numbers or categories as `cells` tells.

        Raises:
          DataError: If it is refused, or holds numbers that are infinite or
            beyond float32, or neither numbers nor text.
        """
        if cells.is_number(self._columns[name].type):
            return self._numbers(
                name, cells.as_numbers(self._columns.pop(name))
            )
        text = self._text(name)
        if self.files[0].lower().endswith(".parquet"):
            return self._categories(name, text)
        try:
            numbers = cells.parsed(text, self._decimal_mark)
        except number_spelling.AmbiguousError as ambiguous:
            raise errors.DataError(
                f"The column {name!r} of {self._path} has numbers such as "
                f"{ambiguous} in all of its cells, which may have thousands or "
                "decimals after the mark; say in --decimal_mark whether it is "
                '"." or ",".'
            ) from None
        except cells.MistakeError as mistake:
            if not strict:
                return self._categories(name, text)
            row = text.index(mistake.cell).as_py()
            present = len(text) - text.null_count
            raise errors.DataError(
                f"{self.place(row)} has {mistake.cell!r} in the column "
                f"{name!r}, which holds numbers but for {mistake.count} of "
                f"{present} cells; mend the cell, name it in --missing_values "
                "if it stands for a missing value, or name the column in "
                "--categorical_columns."
            ) from None
        if numbers is None:
            return self._categories(name, text)
        column = self._numbers(name, numbers)
        return dataclasses.replace(
            column, like_codes=cells.are_like_codes(text, numbers)
        )

    def _text(self, name: str) -> pa.ChunkedArray:
        column = self._columns.pop(name)
        if not cells.is_text(column.type):
            raise errors.DataError(
                f"The column {name!r} of {self._path} is of type "
                f"{column.type}, neither numbers nor text; turn it into one of "
                "them, or leave it out of --feature_columns."
            )
        return cells.as_text(column, self._missing)

    def _categories(self, name: str, text: pa.ChunkedArray) -> Column:
        return Column(name, *cells.places(text), absent=self._missing)

    def _numbers(self, name: str, values: Array) -> Column:
        for word in self._missing:
            try:
                values = np.where(values == float(word), np.nan, values)
            except ValueError:
                continue
        wrong = np.abs(values) > _LARGEST
        if wrong.any():
            row = int(np.argmax(wrong))
            raise errors.DataError(
                f"{self.place(row)} has {values[row]:g} in the column "
                f"{name!r}; a number must be finite and at most "
                f"{_LARGEST:.1e}: mend or empty the cell."
            )
        return Column(name, values, absent=self._missing)
