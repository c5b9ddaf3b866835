"""Decides what each column of a table becomes, and encodes the inputs."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import (
    column_guard,
    date_columns,
    table_features,
)
from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.column_guard import ColumnUse
from tff_pipeline.models.hashed_words import hashed_words
from tff_pipeline.tasks.table_contents import Contents

Array = npt.NDArray[Any]

_ROWS_AT_ONCE = 10_000  # Whose words are hashed.


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
        taken = [(use, column)]
        if use.is_input and use.kind == "date":
            taken = _as_numbers(use, column, rows, contents)
        for use, column in taken:
            if use.is_input:
                feature = _feature(use, column, rows, contents, options)
                known.append(feature)
                columns.append(_encoded(column, feature))
                use = _with_counts(use, feature, column, contents.y)
                # The user may describe a part of a date.
                if use.name not in contents.descriptions.flags:
                    fitted |= _told_by(feature)
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


def _told_by(feature: table_features.Feature) -> dict[str, str]:
    """Returns the flag of the file that could have told what was learned."""
    if isinstance(feature, table_features.Number):
        return {feature.name: "column_bounds_file"}
    if isinstance(feature, table_features.Category):
        return {feature.name: "categories_file"}
    return {}


def _feature(
    use: ColumnUse,
    column: Column,
    rows: Array,
    contents: Contents,
    options: DataConfig,
) -> table_features.Feature:
    """Learns of a column what the model needs, if the user does not say it."""
    if use.name in contents.descriptions.bounds:
        low, high = contents.descriptions.bounds[use.name]
        return table_features.within(use.name, low, high)
    if use.kind == "free text" and use.name not in contents.categorical:
        return table_features.Text(use.name)
    least_count = options.min_category_count or 1
    return table_features.fit(column, rows, False, least_count)


def _as_numbers(
    use: ColumnUse, column: Column, rows: Array, contents: Contents
) -> list[tuple[ColumnUse, Column]]:
    """Returns a column of dates that is no input, and the numbers that are."""
    if column.name in contents.categorical:
        return [(use, column)]
    parts, problem = date_columns.split(column)
    if problem:
        why = f"dates or times, but {problem}; left out"
        return [(dataclasses.replace(use, is_input=False, why=why), column)]
    for part in parts:
        if part.name in contents.features:
            raise errors.DataError(
                f"The column {use.name!r} holds dates and becomes numbers such "
                f"as {part.name!r}, which is a column too; take one of them "
                "out of --feature_columns."
            )
    judged = [column_guard.judge(part, rows, True) for part in parts]
    why = f"dates or times; becomes {len(parts)} numbers"
    return [
        (dataclasses.replace(use, is_input=False, why=why), column),
        *(
            (
                dataclasses.replace(
                    each, kind="number", why=f"a number, {word}"
                )
                if each.is_input
                else each,
                part,
            )
            for each, part, word in zip(
                judged, parts, date_columns.PARTS.values()
            )
        ),
    ]


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
    if isinstance(feature, table_features.Category) and use.distinct:
        rare = use.distinct - len(feature.known)
        why += f", {len(feature.known):,} known"
        why += f" and {rare:,} rare ones as others" if rare else ""
    if column_guard.gives_away(column, y):
        why += "; GIVES THE LABEL AWAY: each value goes with one label"
    return dataclasses.replace(use, why=why)
