"""Finds the range in which most numbers of a column lie, and nobody's own.

The range stands in the exported model, for people who fill in its inputs. A
column's smallest and largest number are each one person's; so there stands
neither, nor any other number of the column as it is.
"""

import dataclasses
import math
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Beyond either end lies at least this share of the numbers, but no fewer of
# them than this, even if rarer categories may be told.
_SHARE, _FEWEST = 100, 10
# From this many times as many numbers on, all but a tenth lie in the range.
_ENOUGH = 20
_DEVIATIONS = 3


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that are usual in a column.

    Attributes:
      low: The lower end.
      high: The upper end, above `low`.
      whole: Whether all numbers of the column are whole.
    """

    low: float
    high: float
    whole: bool


def usual(values: Array, least_count: int = 1) -> Optional[Range]:
    """Returns the range of most numbers, both ends rounded outward.

    Its ends are the 1st and the 99th percentile, or nearer to the middle, so
    that at least ten numbers, and at least `least_count`, lie at each end or
    beyond it. Of numbers that are too few for that, they are the mean and three
    standard deviations around it, which the exported model holds anyway; 0 is
    the lower end where this would be below 0 and no number is. The rounding is
    to a tenth to a hundredth of the range's width.

    Example:
      >>> usual(np.arange(1000) / 7)
      Range(low=0.0, high=150.0, whole=False)

    Args:
      values: The numbers of clients that train, [numbers]; those that are not
        finite are left out.
      least_count: The number of examples from which on a value may be told.

    Returns:
      The range; `None` where the numbers do not differ enough to have one.
    """
    values = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not len(values):
        return None
    beyond = max(least_count, _FEWEST, len(values) // _SHARE)
    if len(values) >= _ENOUGH * beyond:
        low, high = values[beyond - 1], values[-beyond]
    else:
        mean, deviation = np.mean(values), np.std(values)
        low = mean - _DEVIATIONS * deviation
        high = mean + _DEVIATIONS * deviation
        if values[0] >= 0:
            low = max(low, 0.0)
    if not low < high or not math.isfinite(high - low):
        return None
    whole = bool((values == np.round(values)).all())
    return _rounded(float(low), float(high), whole)


def _rounded(low: float, high: float, whole: bool) -> Range:
    exponent = math.floor(math.log10(high - low)) - 1
    if whole:
        exponent = max(exponent, 0)
    step = 10.0**exponent
    # 0.3 / 0.1 is a little less than 3.
    low = math.floor(low / step + 1e-9) * step
    high = math.ceil(high / step - 1e-9) * step
    return Range(round(low, -exponent), round(high, -exponent), whole)
