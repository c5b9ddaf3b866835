"""The task of a user's own table: rows of CSV, TSV or Parquet files."""

import dataclasses
import functools
from typing import Any

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
from tff_pipeline.datasets.readers import column_guard, table_features
from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.column_guard import ColumnUse
from tff_pipeline.models import scaling
from tff_pipeline.models import table as models
from tff_pipeline.objectives import targets
from tff_pipeline.tasks.table_contents import Contents, read
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
    y, owners = contents.y, contents.owners
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
            is_test,
            Examples(x, y),
            options,
            seed,
            owners=owners,
            is_validation=contents.is_validation,
        )

    # The split depends on the seed alone; here x is the number of each row.
    training = _all_x(spread(np.arange(len(y))).train)
    uses, known, x = encoded(contents, training, options)
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
        columns=uses,
        encoder_fn=functools.partial(models.encoder, known),
        column_names=models.column_names(known),
    )


def encoded(
    contents: Contents, rows: Array, options: DataConfig
) -> tuple[list[ColumnUse], list[table_features.Feature], Array]:
    """Decides what each column becomes, and encodes those that are inputs.

    The columns' memory is released.

    Args:
      contents: The table.
      rows: The rows of clients that train, of which statistics are taken.
      options: The options of the table.

    Returns:
      (what becomes of each column, the statistics of those that are inputs,
      float32 [rows, inputs]).

    Raises:
      DataError: If no column is an input; the sentence says of each why.
    """
    uses, known, columns = [], [], []
    for name in contents.features:
        if name not in contents.named and not contents.table.is_readable(name):
            uses.append(column_guard.unreadable(name))
            continue
        column = _column(contents, name)
        use = column_guard.judge(column, rows, name in contents.named)
        if use.is_input:
            feature = table_features.fit(
                column, rows, False, options.min_category_count or 1
            )
            known.append(feature)
            columns.append(table_features.encode(column, feature))
            use = _described(use, feature, column, contents.y)
        uses.append(use)
    if not columns:
        reasons = "; ".join(f"{use.name!r}: {use.why}" for use in uses)
        raise errors.DataError(
            f"{options.data_dir} has no column to predict from ({reasons}); "
            "name those that you want in --feature_columns."
        )
    return uses, known, np.stack(columns, axis=1)


def _column(contents: Contents, name: str) -> Column:
    """Takes a column; as it is written, if it holds codes."""
    if name in contents.categorical:
        return contents.table.codes(name)
    return contents.table.take(name)


def _described(
    use: ColumnUse,
    feature: table_features.Feature,
    column: Column,
    y: Array,
) -> ColumnUse:
    """Adds to a column that is an input how many categories are known."""
    why = use.why
    if isinstance(feature, table_features.Category):
        rare = use.distinct - len(feature.known)
        why += f", {len(feature.known):,} known"
        why += f" and {rare:,} rare ones as others" if rare else ""
    if column_guard.gives_away(column, y):
        why += "; GIVES THE LABEL AWAY: each value goes with one label"
    return dataclasses.replace(use, why=why)


def _all_x(clients: FederatedData) -> Array:
    return np.concatenate([clients.load(c).x for c in clients.client_ids])
