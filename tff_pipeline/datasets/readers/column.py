"""A column of a table in memory: numbers or categories."""

import dataclasses
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Cells that stand for a missing value, without spaces around them: those that
# pandas, R, SQL, Excel, SAS and C write.
MISSING = (
    *("", "?", ".", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan"),
    *("NaT", "NULL", "null", "None", "\\N", "#NULL!", "#DIV/0!", "#VALUE!"),
    *("#REF!", "1.#QNAN", "-1.#IND"),
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's cells.

    Attributes:
      name: The column's name.
      values: Of shape [rows]: numbers are float64, NaN where missing;
        categories are int32, the place in `categories`, -1 where missing.
      categories: The distinct cells, sorted, without spaces around them;
        `None` for numbers.
      absent: The cells that stand for a missing value.
      like_codes: Whether numbers are written as codes are, see
        `cells.are_like_codes`.
    """

    name: str
    values: Array
    categories: Optional[tuple[str, ...]] = None
    absent: tuple[str, ...] = MISSING
    like_codes: bool = False

    @property
    def missing(self) -> Array:
        """Missing cells, bool of shape [rows]."""
        if self.categories is None:
            return np.isnan(self.values)
        return self.values < 0

    def strings(self) -> Array:
        """Returns the text of categories, of shape [rows], "" where missing.

        Example:
          >>> Column("color", np.array([1, -1]), ("blue", "red")).strings()
          array(['red', ''], dtype='<U4')
        """
        assert self.categories is not None
        return np.array([*self.categories, ""])[self.values]
