"""A table's columns as numbers for a model, by statistics of given rows."""

import dataclasses
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.readers.table import Column

Array = npt.NDArray[Any]

# The codes of categories; those that are known follow.
UNKNOWN, ABSENT = 0, 1
_FIRST = 2
MOST_CATEGORIES = 1000


@dataclasses.dataclass(frozen=True)
class Number:
    """What is known of a column of numbers.

    Attributes:
      name: Of the column.
      median: What a missing number is replaced with.
      mean: Of the numbers that are not missing.
      deviation: Their standard deviation, or 1 where they are all the same.
    """

    name: str
    median: float
    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class Category:
    """What is known of a column of categories.

    Attributes:
      name: Of the column.
      known: Those with a code, sorted: known[i] has i + 2.
      of_numbers: Whether they are numbers and not text.
    """

    name: str
    known: tuple[Union[str, float], ...]
    of_numbers: bool = False

    @property
    def codes(self) -> int:
        """How many codes there are: UNKNOWN, ABSENT, one for each known."""
        return len(self.known) + _FIRST


Feature = Union[Number, Category]


def fit(column: Column, rows: Array, categorical: bool) -> Feature:
    """Learns a column's statistics from some of its rows.

    Args:
      column: All of it.
      rows: int array, the rows of the clients that train.
      categorical: Whether numbers are categories too.

    Returns:
      For numbers, their statistics; where all are missing, as if there were
      zeros. For categories, the most frequent of them, at most
      `MOST_CATEGORIES`.
    """
    values = column.values[rows][~column.missing[rows]]
    if column.categories is not None:
        names = column.categories
        return Category(
            column.name, tuple(names[i] for i in _most_frequent(values))
        )
    if categorical:
        known = _most_frequent(values.astype(np.float32))
        return Category(column.name, tuple(known.tolist()), True)
    if not len(values):
        return Number(column.name, 0.0, 0.0, 1.0)
    return Number(
        column.name,
        float(np.median(values)),
        float(np.mean(values)),
        float(np.std(values)) or 1.0,
    )


def _most_frequent(values: Array) -> Array:
    distinct, counts = np.unique(values, return_counts=True)
    by_count = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    return distinct[np.sort(by_count)]


def encode(column: Column, feature: Feature) -> Array:
    """The column as a model takes it.

    Returns:
      float32 of shape [rows]: numbers as they are, NaN where missing, or the
      categories' codes.
    """
    if isinstance(feature, Number):
        return column.values.astype(np.float32)
    code_of = {name: code for code, name in enumerate(feature.known, _FIRST)}
    if column.categories is not None:
        places, distinct = column.values, column.categories
    else:
        numbers, places = np.unique(
            column.values.astype(np.float32), return_inverse=True
        )
        places[column.missing] = -1
        distinct = tuple(numbers.tolist())
    codes = [code_of.get(name, UNKNOWN) for name in distinct]
    # The last is the place -1, of cells that are missing.
    return np.array([*codes, ABSENT], np.float32)[places]
