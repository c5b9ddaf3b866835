"""Encodes a table's columns for a model, by statistics of training rows."""

import dataclasses
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.readers import column_range
from tff_pipeline.datasets.readers.column import MISSING, Column
from tff_pipeline.datasets.readers.column_range import Range

Array = npt.NDArray[Any]

# Codes of categories that were not learned, and of missing cells.
UNKNOWN, ABSENT = 0, 1
_FIRST = 2
MOST_CATEGORIES = 1000
_HASHES = 256


@dataclasses.dataclass(frozen=True)
class Number:
    """Statistics of a column of numbers.

    Attributes:
      name: The column's name.
      median: The median of numbers that are not missing, which replaces those
        that are.
      mean: Their mean.
      deviation: Their standard deviation, or 1 if they are all the same.
      usual: The range to tell people who fill the column in; `None` if there
        is none to tell.
    """

    name: str
    median: float
    mean: float
    deviation: float
    usual: Optional[Range] = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Category:
    """Categories of a column.

    Attributes:
      name: The column's name.
      known: The categories that were learned, sorted: known[i] has the code
        i + 2.
      of_numbers: Whether the categories are numbers and not text.
      absent: The cells that stand for a missing value.
    """

    name: str
    known: tuple[Union[str, float], ...]
    of_numbers: bool = False
    absent: tuple[str, ...] = MISSING

    @property
    def codes(self) -> int:
        """The number of codes: UNKNOWN, ABSENT, and one for each known."""
        return len(self.known) + _FIRST

    @property
    def is_boolean(self) -> bool:
        """Whether the categories are `false` and `true`, or one of them."""
        return bool(self.known) and {*self.known} <= {"false", "true"}


@dataclasses.dataclass(frozen=True)
class Text:
    """Free text, of which nothing is learned but weights of words' hashes.

    Attributes:
      name: The column's name.
      buckets: The number of hashes, each of which is a number of a row.
    """

    name: str
    buckets: int = _HASHES


Feature = Union[Number, Category, Text]


def width(feature: Feature) -> int:
    """Returns how many numbers of a row a column has."""
    return feature.buckets if isinstance(feature, Text) else 1


# Bounds are taken for two deviations on either side of the mean, between which
# 95 % of a normal distribution lie.
_DEVIATIONS = 4.0


def within(name: str, low: float, high: float) -> Number:
    """Returns statistics of a column from bounds that a user names.

    Example:
      >>> within("age", 0.0, 100.0)
      Number(name='age', median=50.0, mean=50.0, deviation=25.0)

    Args:
      name: The column's name.
      low: The number that nearly all cells are not below.
      high: The number that nearly all cells are not above.
    """
    middle = (low + high) / 2
    return Number(
        name,
        middle,
        middle,
        (high - low) / _DEVIATIONS,
        # Nothing of the data, not even whether all are whole.
        Range(low, high, whole=False),
    )


def fit(
    column: Column, rows: Array, categorical: bool, least_count: int = 1
) -> Union[Number, Category]:
    """Learns a column's statistics from some of its rows.

    Example:
      >>> age = Column("age", np.array([20.0, 40.0, np.nan, 99.0]))
      >>> fit(age, np.array([0, 1, 2]), categorical=False)
      Number(name='age', median=30.0, mean=30.0, deviation=10.0)

    Args:
      column: The whole column.
      rows: The rows of clients that train, an int array.
      categorical: Whether to take numbers for categories too.
      least_count: The number of rows from which on a category is known; rarer
        ones are like those that were never seen.

    Returns:
      For numbers, their statistics, or those of zeros if all are missing. For
      categories, the `MOST_CATEGORIES` most frequent ones.
    """
    values = column.values[rows][~column.missing[rows]]
    if column.categories is not None:
        names = column.categories
        return Category(
            column.name,
            tuple(names[i] for i in _most_frequent(values, least_count)),
            absent=column.absent,
        )
    if categorical:
        known = _most_frequent(values.astype(np.float32), least_count)
        return Category(column.name, tuple(known.tolist()), True)
    if not len(values):
        return Number(column.name, 0.0, 0.0, 1.0)
    return Number(
        column.name,
        float(np.median(values)),
        float(np.mean(values)),
        float(np.std(values)) or 1.0,
        column_range.usual(values, least_count),
    )


def _most_frequent(values: Array, least_count: int) -> Array:
    distinct, counts = np.unique(values, return_counts=True)
    often = counts >= least_count
    distinct, counts = distinct[often], counts[often]
    by_count = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
    return distinct[np.sort(by_count)]


def encode(column: Column, feature: Union[Number, Category]) -> Array:
    """Encodes a column of numbers or categories for a model.

    Example:
      >>> color = Column("color", np.array([0, 1, -1]), ("blue", "red"))
      >>> encode(color, Category("color", ("red",))).tolist()
      [0.0, 2.0, 1.0]

    Args:
      column: The column.
      feature: What `fit` learned of it.

    Returns:
      float32 of shape [rows]: numbers unchanged, NaN where missing, or the
      codes of categories.
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
    # Missing cells have the place -1, which takes the last code.
    return np.array([*codes, ABSENT], np.float32)[places]
