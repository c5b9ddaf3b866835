"""Reads a user's table, and the flags' choice of its columns."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.column_names import listed
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import (
    column_descriptions,
    date_columns,
    split_names,
    table_files,
)
from tff_pipeline.datasets.readers.column import MISSING, Column
from tff_pipeline.datasets.readers.column_descriptions import Descriptions
from tff_pipeline.datasets.readers.table import FILE_NAME, Table
from tff_pipeline.objectives import targets

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Contents:
    """A table, and the flags' choice of its columns.

    Attributes:
      table: The table, with the columns of `features` loaded, to be taken.
      features: The columns to predict from, unless `column_guard` leaves them
        out.
      named: Those of them that a flag names.
      categorical: The columns that hold categories even if these are numbers.
      y: Labels; see `class_names`.
      class_names: The classes' names where `y`, int32 [rows], holds classes;
        `None` where it is float32 [rows, 1] and holds numbers.
      owners: Each row's client, str [rows]; `None` where it is not known.
      is_test: True for rows that are held out, bool [rows]; `None` where the
        table does not say.
      is_validation: True for rows to choose on, bool [rows]; `None` if there
        are none.
      descriptions: What the user says of columns.
    """

    table: Table
    features: list[str]
    named: list[str]
    categorical: list[str]
    y: Array
    class_names: Optional[list[str]]
    owners: Optional[Array]
    is_test: Optional[Array]
    is_validation: Optional[Array]
    descriptions: Descriptions


def read(options: DataConfig) -> Contents:
    """Reads the table `options.data_dir`, except what is to predict from.

    Args:
      options: The table and which columns are what.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the table cannot be read, or lacks what the flags name.
    """
    table = Table(
        str(options.data_dir), _missing(options), options.decimal_mark
    )
    _check_parts_are_told(table, options)
    features = _features(table, options)
    categorical = _categorical(table, options, features)
    client, part = options.client_column, options.split_column
    others = [name for name in (client, part) if name is not None]
    labels = listed_labels(options)
    descriptions = column_descriptions.read(
        options.categories_file, options.column_bounds_file
    )
    for name, flag in descriptions.flags.items():
        if date_columns.whole(name) not in table.names:
            table.require(name, flag.partition("=")[0].lstrip("-"))
    table.load({*features, *labels, *others})
    if options.task_type == "regression":
        numbers = [_numbers(table, name) for name in labels]
        y, names = np.stack(numbers, axis=1), None
    else:
        y, names = _classes(
            table, options, descriptions, labels[0] in categorical
        )
    is_test: Optional[Array] = None
    is_validation: Optional[Array] = None
    if part is not None:
        is_test, is_validation = _held_out_rows(table, part)
    named = features if options.feature_columns is not None else categorical
    return Contents(
        table,
        features,
        named,
        categorical,
        y,
        names,
        None if client is None else _owners(table, client),
        is_test,
        is_validation,
        descriptions,
    )


def listed_labels(options: DataConfig) -> list[str]:
    """Returns the names of the columns to predict.

    Args:
      options: The table's options.
    """
    label = str(options.label_column)
    if options.task_type == "regression":
        return listed(label)
    return [label]


def _missing(options: DataConfig) -> Sequence[str]:
    """Returns the cells that stand for a missing value; empty ones always."""
    if options.missing_values is None:
        return MISSING
    return ("", *filter(None, listed(options.missing_values)))


def _check_parts_are_told(table: Table, options: DataConfig) -> None:
    """Raises `DataError` if test rows would be trained on, by their file."""
    names = {table_files.file_name(file).lower() for file in table.files}
    held_out = names & {"test", *split_names.VALIDATION}
    if "train" in names and held_out and options.split_column is None:
        raise errors.DataError(
            f"{options.data_dir} has a file of training and one of "
            f"{min(held_out)} rows; "
            f"give --split_column={FILE_NAME} to hold the latter out, or name "
            "one file."
        )


def _features(table: Table, options: DataConfig) -> list[str]:
    taken = [("label_column", name) for name in listed_labels(options)]
    for flag in ("client_column", "split_column"):
        if getattr(options, flag) is not None:
            taken.append((flag, getattr(options, flag)))
    names = [name for _, name in taken]
    for flag, name in taken:
        table.require(name, flag)
        # The files' names may tell both.
        if names.count(name) > 1 and name != FILE_NAME:
            raise errors.ConfigError(
                f"--{flag}={name} is named by another flag too; the label, the "
                "client and the split are columns of their own."
            )
    flag_of_chosen = "feature_columns"
    if options.text_column is not None:
        chosen, flag_of_chosen = [options.text_column], "text_column"
    elif options.feature_columns is None:
        chosen = [name for name in table.names if name not in names]
        if "" in chosen:
            place = table.names.index("") + 1
            raise errors.DataError(
                f"Column {place} of {options.data_dir} has no name (it may be "
                "row numbers that a program added); name it, or list what to "
                "use in --feature_columns."
            )
    else:
        chosen = listed(options.feature_columns)
    for name in chosen:
        table.require(name, flag_of_chosen)
        for flag, other in taken:
            if name == other:
                raise errors.ConfigError(
                    f"--{flag_of_chosen} has {name!r}, which is --{flag}; take "
                    "it out of one of them."
                )
        if chosen.count(name) > 1:
            raise errors.ConfigError(
                f"--feature_columns has {name!r} twice; take one out."
            )
    if not chosen:
        raise errors.DataError(
            f"{options.data_dir} has no columns to predict from: only "
            f"{', '.join(table.names)}."
        )
    return chosen


def _categorical(
    table: Table, options: DataConfig, features: Sequence[str]
) -> list[str]:
    if options.categorical_columns is None:
        return []
    names = listed(options.categorical_columns)
    for name in names:
        table.require(name, "categorical_columns")
        if name not in (*features, *listed_labels(options)):
            raise errors.ConfigError(
                f"--categorical_columns has {name!r}, which is neither the "
                "label nor a column to predict from; take it out."
            )
    return names


def complete(table: Table, column: Column, what: str) -> None:
    """Checks that a column has no missing cell.

    Args:
      table: The table.
      column: One of its columns.
      what: What the column is, such as "the label", for the error.

    Raises:
      DataError: If a cell is missing; its row is named.
    """
    if column.missing.any():
        row = int(np.argmax(column.missing))
        raise errors.DataError(
            f"{table.place(row)} has no value in the column {column.name!r}, "
            f"{what} (nor have {np.sum(column.missing) - 1} other rows); fill "
            "it in or leave the row out, or, if a word such as NA is a value "
            "here, say in --missing_values which words mean that one is "
            "missing."
        )


def _numbers(table: Table, name: str) -> Array:
    """Returns labels that are numbers, float32 [rows]."""
    column = table.take(name)
    complete(table, column, "the label")
    if column.categories is not None:
        raise errors.DataError(
            f"{table.place(0)} has {column.strings()[0]!r} in the column "
            f"{name!r}, whose cells are not numbers; choose another label, or "
            "--task_type=classification."
        )
    return column.values.astype(np.float32)


def _classes(
    table: Table,
    options: DataConfig,
    descriptions: Descriptions,
    categorical: bool,
) -> tuple[Array, list[str]]:
    """Returns labels that are classes, int32 [rows], and classes' names."""
    label = str(options.label_column)
    source = f"The column {label!r} of {options.data_dir}"
    if label in descriptions.categories:
        column = table.codes(label)
        complete(table, column, "the label")
        names = list(descriptions.categories[label])
        targets.check_classes(names, source, fractions=False)
        return descriptions.places(column.strings(), label, source), names
    column = table.take(label, strict=not categorical)
    complete(table, column, "the label")
    if column.categories is not None:
        names, y = list(column.categories), column.values
        fractions = False
        _check_case(names, source)
    else:
        values, y = np.unique(column.values, return_inverse=True)
        names = targets.number_names(values)
        fractions = bool((values != np.round(values)).any())
    targets.check_classes(names, source, fractions)
    return y.astype(np.int32), names


def _check_case(names: Sequence[str], source: str) -> None:
    """Raises `DataError` if two classes differ by the case of letters alone."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise errors.DataError(
                f"{source} has the classes {other!r} and {name!r}, which "
                "differ by the case of letters alone; write them alike."
            )


def _owners(table: Table, name: str) -> Array:
    column = table.codes(name)
    complete(table, column, "the client")
    return column.strings()


def _held_out_rows(table: Table, name: str) -> tuple[Array, Optional[Array]]:
    """Returns the rows to test and those to choose on; see `Contents`."""
    column = table.codes(name)
    complete(table, column, "the split")
    parts = np.char.lower(column.strings())
    is_test, is_validation = (
        parts == "test",
        np.isin(parts, split_names.VALIDATION),
    )
    wrong = ~((parts == "train") | is_test | is_validation)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise errors.DataError(
            f"{table.place(row)} has {parts[row]!r} in the column {name!r}; "
            "--split_column holds train, test or validation."
        )
    there = sorted(set(np.unique(parts)))
    if not {"train", "test"} <= {*there}:
        raise errors.DataError(
            f"The column {name!r} says {' or '.join(there)} in every row; "
            "--split_column holds both train and test."
        )
    return is_test, is_validation if is_validation.any() else None
