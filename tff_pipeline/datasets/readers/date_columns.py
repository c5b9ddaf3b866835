"""Turns a column of dates into columns of numbers."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from tff_pipeline.datasets.readers import dates
from tff_pipeline.datasets.readers.column import Column

# What stands for a date: the end of the column's name -> what it is.
PARTS = {
    "year": "the year",
    "month": "the month, 1 to 12",
    "weekday": "the day of the week, Monday 1 to Sunday 7",
    "hour": "the hour of the day, with minutes as its fraction",
    "days": "whole days since 1970-01-01",
}


class DateParts(NamedTuple):
    """What becomes of a column of dates.

    Attributes:
      columns: A column for each of `PARTS`, named "column_year" and so on, NaN
        where the date is missing; none if `problem` is not empty.
      problem: Why it cannot be numbers; holds no cell.
    """

    columns: list[Column]
    problem: str


def whole(name: str) -> str:
    """Returns the name of the column of dates that a part is of.

    >>> whole("admitted_year"), whole("age")
    ('admitted', 'age')

    Args:
      name: The name of a part, or of any other column, which is returned.
    """
    column, _, part = name.rpartition("_")
    return column if part in PARTS else name


def split(column: Column) -> DateParts:
    """Splits dates into numbers, if all cells are understood in one way.

    A time with a zone is taken in UTC.

    Example:
      >>> born = Column("born", np.array([0, -1]), ("1999-12-31",))
      >>> for part in split(born).columns:
      ...     print(part.name, part.values)
      born_year [1999.   nan]
      born_month [12. nan]
      born_weekday [ 5. nan]
      born_hour [ 0. nan]
      born_days [10956.    nan]

    Args:
      column: The column; numbers are days such as 20200131.
    """
    if column.categories is None:
        present = column.values[~column.missing]
        numbers, places = np.unique(present, return_inverse=True)
        texts = [
            f"{day[:-4]}-{day[-4:-2]}-{day[-2:]}"
            for day in numbers.astype(np.int64).astype(str)
        ]
        rows = np.full(len(column.values), -1)
        rows[~column.missing] = places
    else:
        texts, rows = list(column.categories), column.values
    orders = dates.orders(pd.Series(texts))
    if not orders:
        return DateParts([], "not all are written as 2016-07-31 13:00")
    if any((order != orders[0]).any() for order in orders):
        return DateParts([], "day and month may be either way round")
    when = orders[0].dt
    seconds = when.second + 60 * when.minute + 3600 * when.hour
    numbers_of = {
        "year": when.year,
        "month": when.month,
        "weekday": when.dayofweek + 1,
        "hour": seconds / 3600,
        "days": (when.normalize() - pd.Timestamp(0)).dt.days,
    }
    return DateParts(
        [
            Column(
                f"{column.name}_{part}",
                np.append(numbers_of[part].to_numpy(np.float64), np.nan)[rows],
                absent=column.absent,
            )
            for part in PARTS
        ],
        "",
    )
