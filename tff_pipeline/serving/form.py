"""Knows what the columns of a table usually hold, and warns of other values.

All of it is from the model card, which has nothing of a single row: categories
that the model knows, and the range of most numbers. The example that a form
begins with is made of it, and so is nobody's.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MOST_WARNINGS = 100
# A unit in a column's name: "chol (mg/dl)", "share [%]"; not "sex (0 = f)".
_UNIT = re.compile(r".*\S\s*[(\[]([^()\[\]=,;:?\d][^()\[\]=,;:?]{0,14})[)\]]")
_MISSING = "is missing, which it never was in the data"
_BOOLEANS = {"0": "false", "1": "true"}


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of a table, as an input.

    Attributes:
      name: The input's name.
      title: The column's own name.
      kind: "number", "category", "boolean" or "text", which may be any.
      is_text: Whether its values are text and not numbers.
      categories: The categories that the model knows: text or numbers.
      missing: For categories that are text, the cells that count as missing.
      low: The lower end of the usual numbers, if it is known.
      high: Their upper end, likewise.
      whole: Whether all numbers were whole in training.
      always_there: Whether no cell was missing in training.
    """

    name: str
    title: str
    kind: str
    is_text: bool = False
    categories: tuple[Union[str, float], ...] = ()
    missing: tuple[str, ...] = ()
    low: Optional[float] = None
    high: Optional[float] = None
    whole: bool = False
    always_there: bool = False

    @property
    def unit(self) -> Optional[str]:
        """The unit, where the column's name has one in brackets.

        >>> Field("chol", "chol (mg/dl)", "number").unit
        'mg/dl'
        """
        found = _UNIT.fullmatch(self.title)
        return found[1].strip() if found else None

    @property
    def other(self) -> Union[str, float]:
        """A value that stands for all those that the model does not know.

        >>> Field("city", "city", "category", True, ("Oslo", "other")).other
        'other value'
        """
        numbers = [each for each in self.categories if type(each) is not str]
        if numbers:
            return 1 + max(map(float, numbers))
        value = "other"
        while value in self.categories or value in self.missing:
            value += " value"
        return value

    def example(self, place: int) -> Union[str, float, None]:
        """Makes a value up, from what the card says alone.

        Args:
          place: The column's place in the form; menus that are alike begin
            with different categories.

        Returns:
          A category; the middle of the usual numbers, rounded to a thousandth
          to a hundredth of their range; or `None`, a missing value, also for
          free text.
        """
        if self.kind in ("category", "boolean"):
            known = self.categories or (self.other,)
            return known[place % len(known)]
        if self.low is None or self.high is None:
            return None
        middle = (self.low + self.high) / 2
        digits = 2 - math.floor(math.log10(self.high - self.low))
        middle = round(middle, 0 if self.whole else digits)
        return int(middle) if middle.is_integer() else middle

    def unusual(self, values: Array) -> dict[int, str]:
        """Returns the rows that are unlike those of training, and how.

        Args:
          values: The column of a request, [rows].

        Returns:
          Words that go on after the column's name, by the row's number.
        """
        if self.kind == "text":
            return {}
        if self.is_text:
            words = map(self._unusual_text, values.tolist())
            return {row: each for row, each in enumerate(words) if each}
        warned = {}
        if self.always_there:
            for row in np.flatnonzero(np.isnan(values)):
                warned[int(row)] = _MISSING
        if self.kind != "number":
            known = np.array(self.categories, np.float32)
            unknown = ~np.isin(values, known) & ~np.isnan(values)
            for row in np.flatnonzero(unknown):
                warned[int(row)] = self._unknown
        elif self.low is not None and self.high is not None:
            unit = f" {self.unit}" if self.unit else ""
            # A float32 that was an end is a little off it.
            slack = 1e-6 * (self.high - self.low)
            exact = values.astype(np.float64)
            for row in np.flatnonzero(
                (exact < self.low - slack) | (exact > self.high + slack)
            ):
                warned[int(row)] = (
                    f"is {values[row]:.6g}, outside the usual range, "
                    f"{self.low:.6g} to {self.high:.6g}{unit}"
                )
        return warned

    @property
    def _unknown(self) -> str:
        return (
            f"is none of the {len(self.categories):,} values that the model "
            "knows; all others count alike"
        )

    def _unusual_text(self, cell: bytes) -> str:
        text = cell.decode(errors="replace").strip()
        if self.kind == "boolean":
            lower = text.lower()
            lower = _BOOLEANS.get(lower, lower)
            text = lower if lower in _BOOLEANS.values() else text
        if text in self.missing:
            return _MISSING if self.always_there else ""
        # Where all were too rare to be known, none is unlike those.
        known = not self.categories or text in self.categories
        return "" if known else self._unknown

    def spelt(self, values: Any) -> Any:
        """Spells JSON's words as the model takes them.

        `null` is a missing value, and `true` and `false`, 1 and 0 are the
        values of a boolean.

        Args:
          values: A column of a request, a list; else it is left as it is.
        """
        if type(values) is not list:
            return values
        if None in values:
            absent = "" if self.is_text else math.nan
            values = [absent if each is None else each for each in values]
        if self.kind == "boolean":
            words = {1: "true", 0: "false"}
            values = [
                words.get(each, each) if isinstance(each, int) else each
                for each in values
            ]
        return values


def warnings(
    fields: Sequence[Field], arrays: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """Warns of values that are unlike those of training.

    They change no prediction. A text that was sent is not repeated.

    Args:
      fields: What each input usually holds.
      arrays: The inputs of a request by name.

    Returns:
      JSON objects with "row", "input" and "warning", a sentence; of more than
      100 a last one says how many there are.
    """
    found: list[dict[str, Any]] = [
        {
            "row": row,
            "input": field.name,
            "warning": f"{field.title} {words}.",
        }
        for field in fields
        for row, words in field.unusual(arrays[field.name]).items()
    ]
    found.sort(key=lambda each: each["row"])
    more = len(found) - _MOST_WARNINGS
    if more > 0:
        found = [
            *found[:_MOST_WARNINGS],
            {"warning": f"{more:,} more values are unusual."},
        ]
    return found
