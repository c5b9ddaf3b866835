"""What becomes of clients' values on their way to the server.

A reduction takes the values one after the other, in the clients' order, and
holds a running result, not the values. Values are nested tuples of tensors or
arrays; arithmetic is NumPy's, in place, in the values' own types.
"""

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import blas

from tff_pipeline.runtime.graphs import flatten

# y += a * x in one pass over both: a sixth of the time that NumPy takes for a
# product and a sum, and the same bits.
_AXPY = {np.float32: blas.saxpy, np.float64: blas.daxpy}


class Reduction(abc.ABC):
    """Takes values by `add`, then gives `result`."""

    @abc.abstractmethod
    def add(self, value: Any) -> None:
        """Takes the next client's value."""

    @abc.abstractmethod
    def result(self) -> Any:
        """What all values come to."""


class Elementwise(Reduction):
    """Folds leaf by leaf with a NumPy function: sum, minimum, maximum."""

    def __init__(self, ufunc: np.ufunc, empty: Callable[[], Any]):
        """Makes one.

        Args:
          ufunc: Takes two arrays; associative.
          empty: Makes the result where there are no clients.
        """
        self._ufunc = ufunc
        self._empty = empty
        self._result: Any = None

    def add(self, value: Any) -> None:
        if self._result is None:
            self._result = _map(np.array, value)
            return
        with np.errstate(over="ignore", invalid="ignore"):
            for total, leaf in zip(flatten(self._result), flatten(value)):
                self._ufunc(total, leaf, out=total)

    def result(self) -> Any:
        return self._empty() if self._result is None else self._result


class WeightedMean(Reduction):
    """Sum of value times weight, divided by the sum of weights."""

    def __init__(self, empty: Callable[[], Any]):
        """Makes one; `empty` makes the result where there are no clients."""
        self._empty = empty
        self._sums: Any = None
        self._weight: Any = None

    def add(self, value: Any) -> None:
        """Takes the pair (value, weight) of the next client."""
        value, weight = value
        if self._sums is None:
            self._sums = _map(_zeros, value)
            self._weight = _zeros(weight)
        # What overflows is found where the mean is used, and counted.
        with np.errstate(over="ignore", invalid="ignore"):
            for total, leaf in zip(flatten(self._sums), flatten(value)):
                _add_product(total, leaf, np.asarray(weight, total.dtype))
        self._weight += weight

    def result(self) -> Any:
        if self._sums is None:
            return self._empty()
        with np.errstate(divide="ignore", invalid="ignore"):
            for total in flatten(self._sums):
                np.divide(total, self._weight.astype(total.dtype), out=total)
        return self._sums


class Mean(WeightedMean):
    """The plain mean."""

    def add(self, value: Any) -> None:
        super().add((value, np.ones([], np.float32)))


class Aggregate(Reduction):
    """TFF's own kind: a zero, a function that takes one more, a report."""

    def __init__(
        self,
        zero: Any,
        accumulate: Callable[[Any], Any],
        report: Callable[[Any], Any],
    ):
        self._accumulator = zero
        self._accumulate = accumulate
        self._report = report

    def add(self, value: Any) -> None:
        self._accumulator = self._accumulate((self._accumulator, value))

    def result(self) -> Any:
        return self._report(self._accumulator)


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies it to the leaves of nested tuples."""
    if isinstance(value, tuple):
        return tuple(_map(function, element) for element in value)
    return function(value)


def _zeros(value: Any) -> np.ndarray:
    """Zeros in C's order, whatever the order of `value`."""
    return np.zeros(np.shape(value), np.asarray(value).dtype)


def _add_product(total: np.ndarray, leaf: Any, weight: np.ndarray) -> None:
    """Total += leaf * weight, without a second array of their size."""
    axpy = _AXPY.get(total.dtype.type)
    if axpy is None or not total.size:
        total += leaf * weight
    else:
        axpy(np.reshape(leaf, -1), total.reshape(-1), a=weight)
