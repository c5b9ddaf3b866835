"""Decides which columns of a table a model learns from, and says why.

Nobody means a patient's number, the day of an admission or a doctor's note to
become a one-hot input; and what becomes one stands in the exported model, word
for word. So such columns are inputs only where the user names them.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.table_features import Category, Feature

Array = npt.NDArray[Any]

# Fewer cells than this prove nothing about how unique they are.
_ENOUGH = 20
_MOST_DISTINCT = 0.5  # Of a column's cells, where each is a category.
_WORDS, _LETTERS = 4, 50  # On average, from which on text is free text.
_DATES = 0.95  # Of the distinct cells, where a column holds dates.
# Of how many distinct cells the kind is told.
_LOOKED_AT = 1000
# A column with as few different cells may stand for the label.
_FEW_VALUES = 50
_ID_WORDS = frozenset(
    ("id", "ids", "uid", "uuid", "guid", "mrn", "ssn", "iban", "rownum")
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_DATE = re.compile(
    r"""(?ix)
    (?: \d{4} [-/.] \d{1,2} [-/.] \d{1,2}
      | \d{1,2} [-/.] \d{1,2} [-/.] (?: \d{4} | \d{2} )
      | \d{1,2} [-\s./]* [a-z]{3,9} [-\s./,]* \d{2,4}
      | [a-z]{3,9} \s \d{1,2} ,? \s \d{4}
    )
    (?: [T\s] \s* \d{1,2} : \d{2} .* )?
    | \d{1,2} : \d{2} (?: : \d{2} (?: \.\d+ )? )? (?: \s? [ap]m )?
    """
)


@dataclasses.dataclass(frozen=True)
class ColumnUse:
    """A column of a table, and what becomes of it.

    Attributes:
      name: The column's name.
      kind: "number", "category", "date", "identifier", "free text",
        "constant", "empty" or "other".
      missing: The share of missing cells, 0 to 1; `None` where the user says
        all that the model holds of its inputs, so that nothing is counted.
      distinct: The number of different cells, without missing ones, likewise.
      is_input: Whether the model learns from it.
      why: What it becomes, or why it is left out; holds no cell.
    """

    name: str
    kind: str
    missing: Optional[float]
    distinct: Optional[int]
    is_input: bool
    why: str


def judge(column: Column, rows: Array, named: bool) -> ColumnUse:
    """Decides whether a column is an input.

    A column of one value, or none, in the clients' rows is none whoever names
    it: what it may be elsewhere nobody has learnt.

    Example:
      >>> age = Column("age", np.array([40.0, 50.0, np.nan, 60.0]))
      >>> use = judge(age, np.arange(4), named=False)
      >>> use.kind, use.missing, use.distinct, use.is_input
      ('number', 0.25, 3, True)

    Args:
      column: The whole column.
      rows: The rows of clients that train, an int array.
      named: Whether the user named the column in a flag.
    """
    cells = column.values[~column.missing]
    here = np.unique(column.values[rows][~column.missing[rows]])
    distinct = len(np.unique(cells))
    if not len(here):
        kind, why = "empty", "training clients have no value in it"
    elif len(here) == 1:
        kind, why = "constant", "training clients have one value in it"
    elif column.categories is None:
        kind, why = _kind_of_numbers(column.name, cells, distinct)
    else:
        kind, why = _kind_of_text(column, len(cells), distinct)
    if kind == "number" and column.like_codes:
        why += (
            ", written like a code (007, or 1.5 and 1.50): if it is one, name "
            "it in --categorical_columns"
        )
    is_input = kind in ("number", "category")
    if kind in ("date", "identifier", "free text"):
        is_input = named
        why = f"{why}; named by you" if named else f"{why}; left out"
    elif not is_input:
        why = f"{why}; left out"
    return ColumnUse(
        column.name,
        kind,
        float(np.mean(column.missing)),
        distinct,
        is_input,
        why,
    )


def described(feature: Feature) -> ColumnUse:
    """Takes a column as its user describes it; nothing of it is counted.

    Args:
      feature: What the user says of it.
    """
    if isinstance(feature, Category):
        count = len(feature.known)
        kind, why = "category", f"{count:,} categories that you name"
    else:
        kind, why = "number", "a number with bounds that you name"
    return ColumnUse(feature.name, kind, None, None, True, why)


def unreadable(name: str) -> ColumnUse:
    """Leaves out a column that holds neither numbers nor text.

    Args:
      name: The column's name.
    """
    why = "neither numbers nor text; left out"
    return ColumnUse(name, "other", 0.0, 0, False, why)


def in_words(uses: Sequence[ColumnUse]) -> str:
    """Shows columns as a table of text, a line a column.

    Args:
      uses: The columns, in the table's order.
    """
    width = max(len("column"), *(len(use.name) for use in uses))
    lines = [f"{'column':<{width}}  type        missing  distinct  becomes"]
    for use in uses:
        missing = "-" if use.missing is None else f"{use.missing:.1%}"
        distinct = "-" if use.distinct is None else f"{use.distinct:,}"
        lines.append(
            f"{use.name:<{width}}  {use.kind:<10}  {missing:>7}"
            f"  {distinct:>8}  {use.why}"
        )
    return "\n".join(lines)


def gives_away(column: Column, y: Array) -> bool:
    """Returns whether each value of a column goes with one label alone.

    Such a column is often the label by another name, or was written down after
    it. Columns of many values are not looked at: they would by chance.

    Example:
      >>> paid = Column("paid", np.array([0.0, 1, 1, 0] * 10))
      >>> gives_away(paid, np.array([1, 0, 0, 1] * 10))
      True

    Args:
      column: The whole column.
      y: The labels, of shape [rows], or [rows, labels], any of which may be
        given away.
    """
    cells, labels = column.values[~column.missing], y[~column.missing]
    if len(cells) < _ENOUGH:
        return False
    values, places = np.unique(cells, return_inverse=True)
    if not 2 <= len(values) <= min(_FEW_VALUES, len(cells) // 5):
        return False
    for label in labels.reshape(len(labels), -1).T:
        pairs = np.unique(np.stack([places, label]), axis=1)
        if pairs.shape[1] == len(values) and len(np.unique(label)) > 1:
            return True
    return False


def _kind_of_numbers(name: str, cells: Array, distinct: int) -> tuple[str, str]:
    whole = bool((cells == np.round(cells)).all())
    if whole and distinct >= _ENOUGH:
        if _named_as_id(name):
            return "identifier", "numbers that are called an id"
        if distinct == len(cells) == np.ptp(cells) + 1:
            return "identifier", "numbers that count the rows"
        if _are_days(cells):
            return "date", "days as year, month and day"
    return "number", "a number"


def _kind_of_text(
    column: Column, present: int, distinct: int
) -> tuple[str, str]:
    assert column.categories is not None
    looked_at = column.categories[:: len(column.categories) // _LOOKED_AT + 1]
    dates = sum(bool(_DATE.fullmatch(cell)) for cell in looked_at)
    if dates >= _DATES * len(looked_at):
        return "date", "dates or times"
    if present >= _ENOUGH and distinct > _ENOUGH:
        words = np.mean([len(cell.split()) for cell in looked_at])
        letters = np.mean([len(cell) for cell in looked_at])
        if words >= _WORDS or letters >= _LETTERS:
            return "free text", "text of many words"
        if distinct > _MOST_DISTINCT * present:
            return "identifier", "text that differs from row to row"
        if _named_as_id(column.name):
            return "identifier", "text that is called an id"
    return "category", "categories"


def words_of(name: str) -> list[str]:
    """Returns the words of a column's name, in small letters.

    >>> words_of("patientId_2")
    ['patient', 'id', '2']

    Args:
      name: The name.
    """
    return [word.lower() for word in _WORD.findall(name)]


def _named_as_id(name: str) -> bool:
    words = words_of(name)
    return bool(words) and not _ID_WORDS.isdisjoint((words[0], words[-1]))


def _are_days(cells: Array) -> bool:
    """Returns whether all numbers are days such as 20200131."""
    years, rest = np.divmod(cells, 10_000)
    months, days = np.divmod(rest, 100)
    return bool(
        ((years >= 1900) & (years < 2100)).all()
        and ((months >= 1) & (months <= 12)).all()
        and ((days >= 1) & (days <= 31)).all()
    )
