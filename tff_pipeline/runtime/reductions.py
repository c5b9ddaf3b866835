"""Reductions: from the clients' values to one value at the server.

A reduction takes the values one after the other, in the clients' order, and
holds a running result, not the values. Reductions of consecutive clients can be
merged: one takes the `partial` result of the other. Values are nested tuples of
tensors or arrays; arithmetic is NumPy's, in place, in the values' own types.
Sums may overflow; `shards`, which folds, keeps NumPy from warning of it.
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
    """Takes clients' values by `add` or `merge`, then gives their `result`."""

    @abc.abstractmethod
    def add(self, value: Any) -> None:
        """Takes the next client's value."""

    @abc.abstractmethod
    def partial(self) -> Any:
        """Returns the running result, as nested tuples of arrays.

        It is `None` if there were no clients. The reduction is of no use
        afterwards, for the arrays belong to the caller.
        """

    @abc.abstractmethod
    def merge(self, partial: Any) -> None:
        """Takes the clients of another reduction, which come next.

        Args:
          partial: The other's `partial` result; its arrays may be changed,
            unless they are read-only.
        """

    def reuse(self, partial: Any) -> None:
        """Offers arrays to be overwritten; called before the first `add`.

        New pages of memory for every shard would cost more than its sums.

        Args:
          partial: What a reduction of this kind gave as `partial`, and nobody
            needs any more.
        """
        del partial

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
        self._spare: Any = None

    def add(self, value: Any) -> None:
        """Takes the next client's value."""
        if self._result is None:
            self._result = _copy(value, self._spare)
            return
        for total, leaf in zip(flatten(self._result), flatten(value)):
            self._ufunc(total, leaf, out=total)

    def reuse(self, partial: Any) -> None:
        """Offers arrays to be overwritten."""
        self._spare = partial

    def partial(self) -> Any:
        """Returns the fold so far, or `None`."""
        return self._result

    def merge(self, partial: Any) -> None:
        """Takes the fold of the clients that come next."""
        if self._result is None:
            self._result = _own(partial)
        elif partial is not None:
            self.add(partial)

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
        self._spare: Any = None

    def add(self, value: Any) -> None:
        """Takes the next client's pair (value, weight)."""
        value, weight = value
        if self._sums is None:
            self._sums = _product(value, weight, self._spare)
            self._weight = np.array(weight)
            return
        for total, leaf in zip(flatten(self._sums), flatten(value)):
            _add_product(total, leaf, weight)
        self._weight += weight

    def reuse(self, partial: Any) -> None:
        """Offers arrays to be overwritten."""
        self._spare = None if partial is None else partial[0]

    def partial(self) -> Any:
        """Returns the sums (value times weight, weight) so far, or `None`."""
        return None if self._sums is None else (self._sums, self._weight)

    def merge(self, partial: Any) -> None:
        """Takes the sums of the clients that come next."""
        if partial is None:
            return
        if self._sums is None:
            self._sums, self._weight = _own(partial)
            return
        sums, weight = partial
        for total, leaf in zip(flatten(self._sums), flatten(sums)):
            np.add(total, leaf, out=total)
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
        merge: Callable[[Any], Any],
        report: Callable[[Any], Any],
    ):
        """Starts without clients.

        Args:
          zero: The accumulator of no clients.
          accumulate: Takes an accumulator and a client's value as a pair;
            returns the accumulator with the client.
          merge: Takes two accumulators as a pair; returns one of the clients of
            both.
          report: Makes the result from an accumulator.
        """
        self._zero = zero
        self._accumulator: Any = None
        self._accumulate = accumulate
        self._merge = merge
        self._report = report

    def add(self, value: Any) -> None:
        """Takes the next client's value."""
        before = self._zero if self._accumulator is None else self._accumulator
        self._accumulator = self._accumulate((before, value))

    def partial(self) -> Any:
        """Returns the accumulator, or `None`."""
        return self._accumulator

    def merge(self, partial: Any) -> None:
        """Takes the accumulator of the clients that come next."""
        if self._accumulator is None:
            self._accumulator = partial
        elif partial is not None:
            self._accumulator = self._merge((self._accumulator, partial))

    def result(self) -> Any:
        """Returns the report on all clients."""
        empty = self._accumulator is None
        return self._report(self._zero if empty else self._accumulator)


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Applies `function` to the leaves of nested tuples."""
    if isinstance(value, tuple):
        return tuple(_map(function, element) for element in value)
    return function(value)


def _own(value: Any) -> Any:
    """Copies the arrays that may not be changed, such as a message's."""

    def own(leaf: Any) -> Any:
        writeable = isinstance(leaf, np.ndarray) and leaf.flags.writeable
        return leaf if writeable else np.array(leaf)

    return None if value is None else _map(own, value)


def _product(value: Any, weight: Any, spare: Any) -> Any:
    """The leaves of `value` times `weight`, in spare arrays if there are."""
    if spare is None:
        # In C's order, whatever the order of `value`.
        spare = _map(
            lambda leaf: np.empty(np.shape(leaf), np.asarray(leaf).dtype), value
        )
    for target, leaf in zip(flatten(spare), flatten(value)):
        np.multiply(leaf, np.asarray(weight, target.dtype), out=target)
    return spare


def _copy(value: Any, spare: Any) -> Any:
    """Copies the leaves of `value`, into arrays that are spare if any are."""
    if spare is None:
        return _map(np.array, value)
    for target, leaf in zip(flatten(spare), flatten(value)):
        np.copyto(target, leaf)
    return spare


def _add_product(total: Array, leaf: Any, weight: Any) -> None:
    """Adds leaf * weight to `total` without a second array of their size."""
    axpy = _AXPY.get(total.dtype.type)
    if axpy is None or not total.size:
        total += leaf * np.asarray(weight, total.dtype)
    else:
        axpy(np.reshape(leaf, -1), total.reshape(-1), a=weight)
