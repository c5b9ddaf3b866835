"""Tells numbers from categories in the cells of one column.

In a Parquet file a column's type decides. In a CSV or TSV file a column holds
numbers if all of its cells that are not missing are numbers, in a spelling that
`number_spelling` knows, and otherwise categories. But a column in which at most
a tenth of the distinct cells, or at most a hundredth of all cells, are not
numbers is one of numbers with mistakes: a typing error must not turn amounts
into thousands of categories.
"""

import re
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tff_pipeline.datasets.readers import number_spelling

Array = npt.NDArray[Any]

_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
_FEW_DISTINCT, _FEW = 0.1, 0.01
# So many distinct cells tell whether a column may hold numbers.
_LOOKED_AT = 1000
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class MistakeError(ValueError):
    """A column of numbers has cells that are none.

    Attributes:
      cell: The first of them.
      count: How many cells are such.
    """

    def __init__(self, cell: str, count: int):
        super().__init__(cell)
        self.cell, self.count = cell, count


def is_number(kind: pa.DataType) -> bool:
    """Returns whether cells of an Arrow type are numbers as they are."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_duration(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Returns whether cells of an Arrow type can be taken for text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_such(kind)
        for is_such in (
            is_number,
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_boolean,
            pa.types.is_date,
            pa.types.is_timestamp,
            pa.types.is_time,
            pa.types.is_null,
        )
    )


def as_numbers(cells: pa.ChunkedArray) -> Array:
    """Returns cells of a type of numbers, float64 [rows]; durations in seconds.

    Args:
      cells: Cells for whose type `is_number` holds.
    """
    kind = cells.type
    if pa.types.is_duration(kind):
        whole = pc.cast(pc.cast(cells, pa.int64()), pa.float64())
        return whole.to_numpy() / _SECONDS[kind.unit]
    numbers = pc.cast(cells, pa.float64(), safe=False)
    return numbers.to_numpy().astype(np.float64, copy=False)


def as_text(cells: pa.ChunkedArray, missing: Sequence[str]) -> pa.ChunkedArray:
    """Returns cells as text without spaces around it, null where missing.

    Args:
      cells: Cells for whose type `is_text` holds.
      missing: The cells that stand for a missing value.
    """
    if pa.types.is_dictionary(cells.type):
        cells = cells.cast(cells.type.value_type)
    text = pc.utf8_trim_whitespace(pc.cast(cells, pa.string()))
    absent = pc.is_in(text, pa.array(missing, pa.string()))
    return pc.if_else(absent, pa.scalar(None, pa.string()), text)


def parsed(
    text: pa.ChunkedArray, decimal_mark: Optional[str] = None
) -> Optional[Array]:
    """Reads text as numbers, if that is what the column holds.

    Args:
      text: The cells, as `as_text` returns them.
      decimal_mark: What stands before decimals; by default what all cells fit.

    Returns:
      float64 [rows], NaN where missing, or `None` if the column has categories.

    Raises:
      AmbiguousError: If the numbers may have either decimal mark.
      MistakeError: If all but a few cells are numbers.
    """
    if decimal_mark != ",":
        try:
            return as_numbers(pc.cast(text, pa.float64()))
        except pa.ArrowInvalid:
            pass
    encoded = text.dictionary_encode().combine_chunks()
    distinct = encoded.dictionary.to_pylist()
    numbers = _numbers_of(distinct, decimal_mark)
    if numbers is None:
        _check_for_mistakes(text, distinct)
        return None
    codes = pc.fill_null(encoded.indices, len(numbers)).to_numpy(False)
    return np.append(numbers, np.nan)[codes]


def _numbers_of(
    distinct: Sequence[str], decimal_mark: Optional[str]
) -> Optional[Array]:
    plain = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce")
    if not plain.isna().any() and decimal_mark != ",":
        return plain.to_numpy(np.float64)
    spelt = number_spelling.parse(distinct, decimal_mark)
    if spelt is not None:
        return np.array(spelt)
    return None if plain.isna().any() else plain.to_numpy(np.float64)


def _check_for_mistakes(text: pa.ChunkedArray, distinct: Sequence[str]) -> None:
    sample = distinct[:: len(distinct) // _LOOKED_AT + 1]
    if len(number_spelling.odd_ones(sample)) > len(sample) / 2:
        return
    wrong = number_spelling.odd_ones(distinct)
    count = pc.sum(pc.is_in(text, pa.array(wrong, pa.string()))).as_py()
    few = len(wrong) <= _FEW_DISTINCT * len(distinct)
    if wrong and (few or count <= _FEW * (len(text) - text.null_count)):
        raise MistakeError(wrong[0], count)


def without_zeros(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Writes 1.0 as 1 in a column of whole numbers, and leaves others alone.

    Codes are what is written: 250.1 and 250.10, or 1 and 001, are two.

    Args:
      text: The cells, as `as_text` returns them.
    """
    distinct = pc.unique(text).drop_null().to_pylist()
    if all(map(_WHOLE.fullmatch, distinct)):
        return pc.replace_substring_regex(text, r"\.0*$", "")
    return text


def are_like_codes(text: pa.ChunkedArray, numbers: Array) -> bool:
    """Returns whether numbers have zeros before them, or two spellings.

    Such are 007, and 250.1 beside 250.10, but not 0.5, nor 1.0 beside 1 where
    all numbers are whole.

    Args:
      text: The cells, as `as_text` returns them.
      numbers: The numbers that they are, NaN where missing.
    """
    padded = pc.any(pc.match_substring_regex(text, r"^[-+]?0\d")).as_py()
    if padded or numbers.size == text.null_count:
        return bool(padded)
    ways = pc.count_distinct(without_zeros(text)).as_py()
    return ways > len(np.unique(numbers[~np.isnan(numbers)]))


def places(text: pa.ChunkedArray) -> tuple[Array, tuple[str, ...]]:
    """Encodes text as places in its sorted distinct cells.

    Booleans, however their letters are, are `false` and `true`.

    Args:
      text: The cells, as `as_text` returns them.

    Returns:
      (int32 [rows], -1 where missing; the distinct cells).
    """
    encoded = text.dictionary_encode().combine_chunks()
    distinct = encoded.dictionary.to_pylist()
    lower = [cell.lower() for cell in distinct]
    if distinct and {*lower} <= {"false", "true"}:
        distinct = lower
    names = sorted({*distinct})
    rank = {name: place for place, name in enumerate(names)}
    of_code = np.array([*(rank[name] for name in distinct), -1], np.int32)
    codes = pc.fill_null(encoded.indices, len(distinct)).to_numpy(False)
    return of_code[codes], tuple(names)
