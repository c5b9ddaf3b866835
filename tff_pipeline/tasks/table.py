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
from tff_pipeline.models import scaling, table_form
from tff_pipeline.models import table as models
from tff_pipeline.models.hashed_words import hashed_words
from tff_pipeline.objectives import targets
from tff_pipeline.tasks.table_contents import Contents, listed_labels, read
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

_ROWS_AT_ONCE = 10_000  # Whose words are hashed.


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
            is_test, Examples(x, y), options, seed, owners=owners
        )

    # The split depends on the seed alone; here x is the number of each row.
    training = _all_x(spread(np.arange(len(y))).train)
    inputs = encoded(contents, training, options)
    known, fitted = inputs.features, dict(inputs.fitted)
    for name in listed_labels(options):
        if name not in contents.descriptions.flags:
            fitted[name] = (
                "categories_file"
                if contents.class_names is not None
                else "column_bounds_file"
            )
    target: dict[str, Any]
    if contents.class_names is None:
        label_scaling = _label_scaling(contents, options, y[training])
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
        **vars(spread(inputs.x)),
        **target,
        model_fn=model_fn,
        serving_fn=functools.partial(models.serving_model, known),
        columns=inputs.uses,
        fitted_columns=fitted,
        encoder_fn=functools.partial(models.encoder, known),
        column_names=models.column_names(known),
        form=table_form.form(known),
        labels=listed_labels(options),
    )


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A table's columns as a model takes them.

    Attributes:
      uses: What becomes of each column.
      features: The statistics of those that are inputs, in order.
      x: Their values, float32 [rows, numbers of a row]; see
        `table_features.encode` and `hashed_words`.
      fitted: The columns whose statistics were computed from the rows, with
        the flag of the file that could have told them.
    """

    uses: list[ColumnUse]
    features: list[table_features.Feature]
    x: Array
    fitted: dict[str, str]


def encoded(contents: Contents, rows: Array, options: DataConfig) -> Inputs:
    """Decides what each column becomes, and encodes those that are inputs.

    A column that the user describes is an input as it is described; of others,
    `column_guard` decides. The columns' memory is released.

    Args:
      contents: The table.
      rows: The rows of clients that train, of which statistics are taken.
      options: The options of the table.

    Raises:
      DataError: If no column is an input; the sentence says of each why. If a
        column has bounds whose cells are not numbers.
    """
    uses: list[ColumnUse] = []
    known: list[table_features.Feature] = []
    columns: list[Array] = []
    fitted: dict[str, str] = {}
    for name in contents.features:
        if name in contents.descriptions.flags:
            column, feature = _described(contents, name, options)
            uses.append(column_guard.described(feature))
            known.append(feature)
            columns.append(_encoded(column, feature))
            continue
        if name not in contents.named and not contents.table.is_readable(name):
            uses.append(column_guard.unreadable(name))
            continue
        column = _column(contents, name)
        use = column_guard.judge(column, rows, name in contents.named)
        if use.is_input:
            feature = (
                table_features.Text(name)
                if use.kind == "free text" and name not in contents.categorical
                else table_features.fit(
                    column, rows, False, options.min_category_count or 1
                )
            )
            known.append(feature)
            columns.append(_encoded(column, feature))
            use = _with_counts(use, feature, column, contents.y)
            if isinstance(feature, table_features.Number):
                fitted[name] = "column_bounds_file"
            elif isinstance(feature, table_features.Category):
                fitted[name] = "categories_file"
        uses.append(use)
    if not columns:
        reasons = "; ".join(f"{use.name!r}: {use.why}" for use in uses)
        raise errors.DataError(
            f"{options.data_dir} has no column to predict from ({reasons}); "
            "name those that you want in --feature_columns."
        )
    if not fitted:
        # All that the model holds is what the user said; so is all that is
        # said of the table, in the model card too.
        uses = [
            dataclasses.replace(use, missing=None, distinct=None)
            for use in uses
        ]
    return Inputs(uses, known, np.concatenate(columns, axis=1), fitted)


def _column(contents: Contents, name: str) -> Column:
    """Takes a column; as it is written, if it holds codes."""
    if name in contents.categorical:
        return contents.table.codes(name)
    return contents.table.take(name)


def _encoded(column: Column, feature: table_features.Feature) -> Array:
    """Returns a column's numbers of each row, float32 [rows, numbers]."""
    if not isinstance(feature, table_features.Text):
        return table_features.encode(column, feature)[:, np.newaxis]
    cells, buckets = column.strings(), feature.buckets
    parts = [
        hashed_words(cells[start : start + _ROWS_AT_ONCE], buckets).numpy()
        for start in range(0, len(cells), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _described(
    contents: Contents, name: str, options: DataConfig
) -> tuple[Column, table_features.Feature]:
    """Takes a column that the user describes, with what is said of it."""
    said = contents.descriptions
    if name in said.categories:
        column = contents.table.codes(name)
        for category in said.categories[name]:
            if category in column.absent:
                raise errors.DataError(
                    f"{said.flags[name]} gives the column {name!r} the "
                    f"category {category!r}, which stands for a missing value; "
                    "take it out, or say in --missing_values which words do."
                )
        return column, table_features.Category(
            name, tuple(said.categories[name]), absent=column.absent
        )
    column = contents.table.take(name)
    if column.categories is not None:
        raise errors.DataError(
            f"{said.flags[name]} gives bounds of the column {name!r} of "
            f"{options.data_dir}, whose cells are not numbers; describe it in "
            "--categories_file."
        )
    return column, table_features.within(name, *said.bounds[name])


def _label_scaling(
    contents: Contents, options: DataConfig, y: Array
) -> scaling.Scaling:
    """Returns the scaling of labels that are numbers, described or not."""
    fitted = scaling.label_scaling(y)
    for place, name in enumerate(listed_labels(options)):
        if name in contents.descriptions.bounds:
            low, high = contents.descriptions.bounds[name]
            said = scaling.scaling_within(low, high)
            fitted.mean[place] = said.mean[0]
            fitted.deviation[place] = said.deviation[0]
    return fitted


def _with_counts(
    use: ColumnUse,
    feature: table_features.Feature,
    column: Column,
    y: Array,
) -> ColumnUse:
    """Adds to a column that is an input how many categories are known."""
    why = use.why
    if isinstance(feature, table_features.Text):
        why += f": words' hashes in {feature.buckets} numbers"
    if isinstance(feature, table_features.Category):
        rare = use.distinct - len(feature.known)
        why += f", {len(feature.known):,} known"
        why += f" and {rare:,} rare ones as others" if rare else ""
    if column_guard.gives_away(column, y):
        why += "; GIVES THE LABEL AWAY: each value goes with one label"
    return dataclasses.replace(use, why=why)


def _all_x(clients: FederatedData) -> Array:
    return np.concatenate([clients.load(c).x for c in clients.client_ids])
