"""What becomes of clients' values on their way to the server.

A reduction takes the values one after the other, in the clients' order, and
holds a running result, not the values. Values are nested tuples of tensors or
arrays; arithmetic is NumPy's, in place, in the values' own types.
"""

import abc
from collections.abc import Callable, Iterator
from typing import Any, Optional

import numpy as np

from tff_pipeline.runtime.graphs import flatten


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

    def __init__(self, ufunc: np.ufunc, empty: Any):
        """Makes one.

        Args:
          ufunc: Takes two arrays; associative.
          empty: The result where there are no clients.
        """
        self._ufunc = ufunc
        self._template = empty
        self._leaves: Optional[list[np.ndarray]] = None

    def add(self, value: Any) -> None:
        leaves = [np.asarray(leaf) for leaf in flatten(value)]
        if self._leaves is None:
            self._leaves = [np.array(leaf) for leaf in leaves]
            return
        for total, leaf in zip(self._leaves, leaves):
            self._ufunc(total, leaf, out=total)

    def result(self) -> Any:
        if self._leaves is None:
            return self._template
        return _like(self._template, iter(self._leaves))


class WeightedMean(Reduction):
    """Sum of value times weight, divided by the sum of weights."""

    def __init__(self, empty: Any):
        self._template = empty
        self._sums: Optional[list[np.ndarray]] = None
        self._products: list[np.ndarray] = []
        self._weight: Any = None

    def add(self, value: Any) -> None:
        """Takes the pair (value, weight) of the next client."""
        value, weight = value
        weight = np.asarray(weight)
        leaves = [np.asarray(leaf) for leaf in flatten(value)]
        if self._sums is None:
            self._sums = [
                np.array(leaf * weight.astype(leaf.dtype)) for leaf in leaves
            ]
            self._products = [np.empty_like(leaf) for leaf in self._sums]
            self._weight = np.array(weight)
            return
        for total, product, leaf in zip(self._sums, self._products, leaves):
            np.multiply(leaf, weight.astype(leaf.dtype), out=product)
            total += product
        self._weight += weight

    def result(self) -> Any:
        if self._sums is None:
            return self._template
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [
                np.asarray(total / self._weight.astype(total.dtype))
                for total in self._sums
            ]
        return _like(self._template, iter(means))


class Mean(WeightedMean):
    """The plain mean."""

    def add(self, value: Any) -> None:
        super().add((value, np.float32(1)))


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


def _like(template: Any, leaves: Iterator[np.ndarray]) -> Any:
    if isinstance(template, tuple):
        return tuple(_like(element, leaves) for element in template)
    return next(leaves)
