"""Means and deviations by which inputs and labels are scaled."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.readers import table_features

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of numbers.

    Attributes:
      mean: One a place along the numbers' last axis, or one for all places.
      deviation: Likewise, above 0.
    """

    mean: list[float]
    deviation: list[float]


def scaled_places(shape: Sequence[int]) -> int:
    """Returns how many places of an input are scaled each for itself.

    Args:
      shape: The shape of one input.

    Returns:
      1 for a scalar and for [height, width], else the length of the last axis.
    """
    return shape[-1] if len(shape) in (1, 3) or len(shape) > 3 else 1


def input_scaling(parts: Iterable[Array], shape: Sequence[int]) -> Scaling:
    """Returns the statistics of inputs that come in parts.

    The parts are combined as in Chan, Golub and LeVeque 1983, "Algorithms for
    computing the sample variance", equation 1.5, so that the squares of large
    numbers do not cancel.

    Args:
      parts: Numeric arrays of shape [n, *shape]; NaN is left out.
      shape: The shape of one input. For a scalar and for [height, width] all
        numbers count alike, else each place along the last axis for itself.

    Returns:
      Statistics of the length of the last axis, or of length 1; a deviation of
      0 is given as 1.

    >>> input_scaling([np.array([[1.0], [3.0]]), np.array([[np.nan]])], [1])
    Scaling(mean=[2.0], deviation=[1.0])
    """
    last = scaled_places(shape)
    count, mean, squares = np.zeros(last), np.zeros(last), np.zeros(last)
    for part in parts:
        values = part.reshape(-1, last).astype(np.float64)
        known = ~np.isnan(values)
        more = known.sum(axis=0)
        both = np.maximum(count + more, 1)
        own = np.where(known, values, 0.0).sum(axis=0) / np.maximum(more, 1)
        apart = own - mean
        squares += np.square(np.where(known, values - own, 0.0)).sum(axis=0)
        squares += np.square(apart) * count * more / both
        mean += apart * more / both
        count += more
    deviation = np.sqrt(squares / np.maximum(count, 1))
    deviation[deviation == 0] = 1.0
    return Scaling(mean.tolist(), deviation.tolist())


def scaling_within(low: float, high: float, outputs: int = 1) -> Scaling:
    """Returns a scaling from bounds that a user names.

    Args:
      low: The number that nearly all numbers are not below.
      high: The number that nearly all numbers are not above.
      outputs: The number of places that the bounds are of.

    Returns:
      Statistics of length `outputs`; see `table_features.within`.

    >>> scaling_within(0.0, 100.0)
    Scaling(mean=[50.0], deviation=[25.0])
    """
    number = table_features.within("", low, high)
    return Scaling([number.mean] * outputs, [number.deviation] * outputs)


def label_scaling(y: Array) -> Scaling:
    """Returns the statistics of training labels, one an output.

    Args:
      y: Labels, of any numeric type, [n, outputs]; n is at least 1.

    Returns:
      Statistics of length `outputs`; a deviation of 0 is given as 1.

    >>> label_scaling(np.array([[1.0, 5.0], [3.0, 5.0]]))
    Scaling(mean=[2.0, 5.0], deviation=[1.0, 1.0])
    """
    values = y.astype(np.float64)
    deviation = np.std(values, axis=0)
    deviation[deviation == 0] = 1.0
    return Scaling(np.mean(values, axis=0).tolist(), deviation.tolist())
