"""Reductions: from the clients' values to one value at the server.

A reduction takes the values one after the other, in the clients' order, and
holds a running result, not the values. Values are nested tuples of tensors or
arrays; arithmetic is NumPy's, in place, in the values' own types.
"""

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas

from tff_pipeline.runtime.graphs import flatten

Array = npt.NDArray[Any]

# y += a * x in one pass over both: a sixth of the time that NumPy takes for a
# product and a sum, and the same bits.
_AXPY = {np.float32: blas.saxpy, np.float64: blas.daxpy}


class Reduction(abc.ABC):
    """Takes clients' values by `add`, then gives their `result`."""

    @abc.abstractmethod
    def add(self, value: Any) -> None:
        """Takes the next client's value."""

    @abc.abstractmethod
    def result(self) -> Any:
        """Returns the reduced value; the reduction is of no use afterwards."""


class Elementwise(Reduction):
    """A fold with a NumPy function, number by number: sum, minimum, maximum.

    Example:
      >>> total = Elementwise(np.add, lambda: np.zeros([2]))
      >>> total.add(np.array([1.0, 2.0]))
      >>> total.add(np.array([3.0, 4.0]))
      >>> total.result()
      array([4., 6.])
    """

    def __init__(self, ufunc: np.ufunc, empty: Callable[[], Any]):
        """Starts without clients.

        Args:
          ufunc: Takes two arrays; associative.
          empty: Makes the result where there are no clients.
        """
        self._ufunc = ufunc
        self._empty = empty
        self._result: Any = None

    def add(self, value: Any) -> None:
        """Takes the next client's value."""
        if self._result is None:
            self._result = _map(np.array, value)
            return
        with np.errstate(over="ignore", invalid="ignore"):
            for total, leaf in zip(flatten(self._result), flatten(value)):
                self._ufunc(total, leaf, out=total)

    def result(self) -> Any:
        """Returns the fold of all values."""
        return self._empty() if self._result is None else self._result


class WeightedMean(Reduction):
    """The sum of value times weight, divided by the sum of weights.

    Example:
      >>> mean = WeightedMean(lambda: np.array([np.nan]))
      >>> mean.add((np.array([1.0]), np.float32(3)))
      >>> mean.add((np.array([5.0]), np.float32(1)))
      >>> mean.result()
      array([2.])
    """

    def __init__(self, empty: Callable[[], Any]):
        """Starts without clients.

        Args:
          empty: Makes the result where there are no clients.
        """
        self._empty = empty
        self._sums: Any = None
        self._weight: Any = None

    def add(self, value: Any) -> None:
        """Takes the next client's pair (value, weight)."""
        value, weight = value
        if self._sums is None:
            self._sums = _map(_zeros, value)
            self._weight = _zeros(weight)
        # What overflows is noticed where the mean is used, and counted.
        with np.errstate(over="ignore", invalid="ignore"):
            for total, leaf in zip(flatten(self._sums), flatten(value)):
                _add_product(total, leaf, np.asarray(weight, total.dtype))
        self._weight += weight

    def result(self) -> Any:
        """Returns the mean, not a number where all weights are 0."""
        if self._sums is None:
            return self._empty()
        with np.errstate(divide="ignore", invalid="ignore"):
            for total in flatten(self._sums):
                np.divide(total, self._weight.astype(total.dtype), out=total)
        return self._sums


class Mean(WeightedMean):
    """The plain mean: all clients weigh the same."""

    def add(self, value: Any) -> None:
        """Takes the next client's value."""
        super().add((value, np.ones([], np.float32)))


class Aggregate(Reduction):
    """The reduction of TFF's `federated_aggregate`, from its computations."""

    def __init__(
        self,
        zero: Any,
        accumulate: Callable[[Any], Any],
        report: Callable[[Any], Any],
    ):
        """Starts without clients.

        Args:
          zero: The accumulator of no clients.
          accumulate: Takes an accumulator and a client's value as a pair;
            returns the accumulator with the client.
          report: Makes the result from an accumulator.
        """
        self._accumulator = zero
        self._accumulate = accumulate
        self._report = report

    def add(self, value: Any) -> None:
        """Takes the next client's value."""
        self._accumulator = self._accumulate((self._accumulator, value))

    def result(self) -> Any:
        """Returns the report on all clients."""
        return self._report(self._accumulator)


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies `function` to the leaves of nested tuples."""
    if isinstance(value, tuple):
        return tuple(_map(function, element) for element in value)
    return function(value)


def _zeros(value: Any) -> Array:
    """Returns zeros in C's order, whatever the order of `value`."""
    return np.zeros(np.shape(value), np.asarray(value).dtype)


def _add_product(total: Array, leaf: Any, weight: Array) -> None:
    """Adds leaf * weight to `total` without a second array of their size."""
    axpy = _AXPY.get(total.dtype.type)
    if axpy is None or not total.size:
        total += leaf * weight
    else:
        axpy(np.reshape(leaf, -1), total.reshape(-1), a=weight)
