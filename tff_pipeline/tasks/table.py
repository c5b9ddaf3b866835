"""The task of a user's own table: rows of CSV, TSV or Parquet files."""

import csv as csv_format
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.split import Split, split_where
from tff_pipeline.datasets.readers import table_features
from tff_pipeline.datasets.readers.table import Column, Table
from tff_pipeline.models import scaling
from tff_pipeline.models import table as models
from tff_pipeline.objectives import targets
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


def csv(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting a column of a table from others.

    Training `x` is float32 [rows, columns], see `table_features.encode`; all
    statistics are of the clients that train. The exported model takes the
    columns by name, see `models.table.serving_model`.

    The model has two hidden layers of 64 and 32 units. Classes end in one logit
    each, in the order of their names (of their value, if all are numbers); a
    number is scaled by the training rows' mean and deviation.

    Args:
      options: The table, in `data_dir`, and which columns are what.
      seed: The experiment's seed, which draws what is held out.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the table cannot be read, or lacks what the flags name.
    """
    data_dir = options.required_data_dir(
        "a table (.csv, .tsv, either also in .gz, or .parquet) or a folder of "
        "such files"
    )
    contents = read(options)
    table, y, owners = contents.table, contents.y, contents.owners
    is_test = contents.is_test
    if is_test is None:
        is_test = hold_out.mask(
            len(y), owners, options.test_fraction or 0.0, seed
        )
    if not is_test.any():
        raise errors.DataError(
            f"No row of {data_dir} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add rows: a client "
            "with one row trains on it."
        )

    def spread(x: Array) -> Split:
        return split_where(
            is_test, Examples(x, y), options, seed, owners=owners
        )

    # The split depends on the seed alone; here x is the number of each row.
    training = _all_x(spread(np.arange(len(y))).train)
    known, x = [], np.empty([len(y), len(contents.features)], np.float32)
    for place, name in enumerate(contents.features):
        forced = name in contents.categorical
        column = table.take(name, strict=not forced)
        known.append(table_features.fit(column, training, forced))
        x[:, place] = table_features.encode(column, known[-1])
    target: dict[str, Any]
    if contents.class_names is None:
        label_scaling = scaling.label_scaling(y[training])
        target = targets.number_target(label_scaling)
        model_fn = functools.partial(
            models.two_hidden_layers, known, y.shape[1], label_scaling
        )
    else:
        target = targets.class_target(contents.class_names)
        model_fn = functools.partial(
            models.two_hidden_layers, known, len(contents.class_names)
        )
    return Task(
        "csv",
        **vars(spread(x)),
        **target,
        model_fn=model_fn,
        serving_fn=functools.partial(models.serving_model, known),
        encoder_fn=functools.partial(models.encoder, known),
        column_names=models.column_names(known),
    )


@dataclasses.dataclass(frozen=True)
class Contents:
    """A table, and the flags' choice of its columns.

    Attributes:
      table: The table, with the columns of `features` loaded, to be taken.
      features: The columns to predict from.
      categorical: The columns that hold categories even if these are numbers.
      y: Labels; see `class_names`.
      class_names: The classes' names where `y`, int32 [rows], holds classes;
        `None` where it is float32 [rows, 1] and holds numbers.
      owners: Each row's client, str [rows]; `None` where it is not known.
      is_test: True for rows that are held out, bool [rows]; `None` where the
        table does not say.
    """

    table: Table
    features: list[str]
    categorical: list[str]
    y: Array
    class_names: Optional[list[str]]
    owners: Optional[Array]
    is_test: Optional[Array]


def read(options: DataConfig) -> Contents:
    """Reads the table `options.data_dir`, except what is to predict from.

    Args:
      options: The table and which columns are what.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the table cannot be read, or lacks what the flags name.
    """
    table = Table(str(options.data_dir))
    features = _features(table, options)
    categorical = _categorical(table, options, features)
    client, part = options.client_column, options.split_column
    label = str(options.label_column)
    others = [name for name in (client, part) if name is not None]
    table.load({*features, label, *others})
    y, names = _labels(table, options, label in categorical)
    return Contents(
        table,
        features,
        categorical,
        y,
        names,
        None if client is None else _owners(table, client),
        None if part is None else _test_rows(table, part),
    )


def _all_x(clients: FederatedData) -> Array:
    return np.concatenate([clients.load(c).x for c in clients.client_ids])


def _listed(value: str) -> list[str]:
    """Returns the names in a flag; one with a comma is in quotes, as in CSV."""
    return [
        name.strip()
        for name in next(csv_format.reader([value], skipinitialspace=True))
    ]


def _features(table: Table, options: DataConfig) -> list[str]:
    taken = {
        flag: getattr(options, flag)
        for flag in ("label_column", "client_column", "split_column")
        if getattr(options, flag) is not None
    }
    for flag, name in taken.items():
        table.require(name, flag)
    for flag, name in taken.items():
        if list(taken.values()).count(name) > 1:
            raise errors.ConfigError(
                f"--{flag}={name} is named by another flag too; the label, the "
                "client and the split are columns of their own."
            )
    if options.feature_columns is None:
        chosen = [n for n in table.names if n not in taken.values()]
        if "" in chosen:
            place = table.names.index("") + 1
            raise errors.DataError(
                f"Column {place} of {options.data_dir} has no name (it may be "
                "row numbers that a program added); name it, or list what to "
                "use in --feature_columns."
            )
    else:
        chosen = _listed(options.feature_columns)
    for name in chosen:
        table.require(name, "feature_columns")
        for flag, other in taken.items():
            if name == other:
                raise errors.ConfigError(
                    f"--feature_columns has {name!r}, which is --{flag}; take "
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
    names = _listed(options.categorical_columns)
    for name in names:
        table.require(name, "categorical_columns")
        if name not in (*features, options.label_column):
            raise errors.ConfigError(
                f"--categorical_columns has {name!r}, which is neither the "
                "label nor a column to predict from; take it out."
            )
    return names


def _complete(table: Table, column: Column, what: str) -> None:
    if column.missing.any():
        row = int(np.argmax(column.missing))
        raise errors.DataError(
            f"{table.place(row)} has no value in the column {column.name!r}, "
            f"{what} (nor have {np.sum(column.missing) - 1} other rows); fill "
            "it in or leave the row out."
        )


def _labels(
    table: Table, options: DataConfig, categorical: bool
) -> tuple[Array, Optional[list[str]]]:
    """Returns int32 [rows] and classes' names, or float32 [rows, 1], `None`."""
    column = table.take(str(options.label_column), strict=not categorical)
    _complete(table, column, "the label")
    if options.task_type == "regression":
        if column.categories is not None:
            wrong = column.strings()[0]
            raise errors.DataError(
                f"{table.place(0)} has {wrong!r} in the column "
                f"{column.name!r}, whose cells are not numbers; choose another "
                "label, or --task_type=classification."
            )
        return column.values.astype(np.float32)[:, np.newaxis], None
    source = f"The column {column.name!r} of {options.data_dir}"
    if column.categories is not None:
        names, y = list(column.categories), column.values
        fractions = False
    else:
        values, y = np.unique(column.values, return_inverse=True)
        names = targets.number_names(values)
        fractions = bool((values != np.round(values)).any())
    targets.check_classes(names, source, fractions)
    return y.astype(np.int32), names


def _owners(table: Table, name: str) -> Array:
    column = table.text(name)
    _complete(table, column, "the client")
    return column.strings()


def _test_rows(table: Table, name: str) -> Array:
    """Returns true where the column says test, bool [rows]."""
    column = table.text(name)
    _complete(table, column, "the split")
    parts = np.char.lower(column.strings())
    wrong = ~np.isin(parts, ("train", "test"))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise errors.DataError(
            f"{table.place(row)} has {parts[row]!r} in the column {name!r}; "
            "--split_column holds train or test."
        )
    if parts[0] == parts[-1] and (parts == parts[0]).all():
        raise errors.DataError(
            f"The column {name!r} says {parts[0]} in every row; --split_column "
            "holds both train and test."
        )
    return parts == "test"
