"""Folds a cohort in fixed shards, so that all runtimes give the same bits.

A cohort is cut into shards of `clients_per_shard` consecutive clients. Each is
folded on its own, and the partial results are merged as a chain in the shards'
order: ((s0 + s1) + s2) + ... The last bit of a sum of floats depends on the
order of adding; this order depends on the cohort alone, neither on the number
of threads nor on the machine that folds a shard. A cohort of one shard is
folded without a merge.

A shard's partial results are a pure function of its clients' values: they can
be computed elsewhere, twice, or in any order, and are merged by `Chain`.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Optional

import numpy as np

from tff_pipeline import timing
from tff_pipeline.runtime.reductions import Reduction

Make = Callable[[], Reduction]


def cut(num_clients: int, clients_per_shard: int) -> Iterator[range]:
    """Cuts a cohort into shards.

    Args:
      num_clients: The number of clients in the cohort.
      clients_per_shard: The number of clients in a shard; the last one may have
        fewer.

    Yields:
      The clients' numbers in the cohort, shard by shard.

    Example:
      >>> list(cut(9, 4))
      [range(0, 4), range(4, 8), range(8, 9)]
    """
    for start in range(0, num_clients, clients_per_shard):
        yield range(start, min(start + clients_per_shard, num_clients))


def fold(
    makes: Sequence[Make],
    clients: Iterable[Sequence[Any]],
    spare: Optional[Sequence[Any]] = None,
) -> list[Any]:
    """Folds one shard.

    Args:
      makes: For each reduction a function that returns a new one.
      clients: For each client of the shard, in order, its values: one for each
        reduction; more are ignored.
      spare: Partial results that may be overwritten, of the same reductions.

    Returns:
      For each reduction its partial result: nested tuples of arrays, or `None`
      where there were no clients.
    """
    reductions = [make() for make in makes]
    for reduction, partial in zip(reductions, spare or ()):
        reduction.reuse(partial)
    for values in clients:
        with timing.span("aggregation"), _overflowing():
            for reduction, value in zip(reductions, values):
                reduction.add(value)
    return [reduction.partial() for reduction in reductions]


class Chain:
    """Merges the shards of a cohort, which come in order.

    Attributes:
      spare: For each reduction the partial result of a shard that was merged,
        whose arrays the next `fold` may overwrite, or `None`.

    Example:
      >>> import numpy as np
      >>> from tff_pipeline.runtime.reductions import Elementwise
      >>> makes = [lambda: Elementwise(np.add, lambda: np.zeros([]))]
      >>> chain = Chain(makes)
      >>> chain.add(fold(makes, [[1.0], [2.0]]))
      >>> chain.add(fold(makes, [[4.0]]))
      >>> chain.results()
      [array(7.)]
    """

    def __init__(self, makes: Sequence[Make]):
        """Starts without shards.

        Args:
          makes: For each reduction a function that returns a new one.
        """
        self._reductions = [make() for make in makes]
        self._begun = False
        self.spare: Optional[Sequence[Any]] = None

    def add(self, partials: Sequence[Any]) -> None:
        """Merges the next shard; its arrays are of no use afterwards.

        Args:
          partials: For each reduction the shard's partial result.
        """
        with timing.span("aggregation"), _overflowing():
            for reduction, partial in zip(self._reductions, partials):
                reduction.merge(partial)
        # The first shard's arrays are the chain's own now.
        if self._begun:
            self.spare = [p if _is_writeable(p) else None for p in partials]
        self._begun = True

    def results(self) -> list[Any]:
        """Returns the value of each reduction over the whole cohort."""
        with timing.span("aggregation"):
            return [reduction.result() for reduction in self._reductions]


def _overflowing() -> contextlib.AbstractContextManager[Any]:
    """Lets sums overflow: it is noticed where they are used, and counted."""
    return np.errstate(over="ignore", invalid="ignore")


def _is_writeable(partial: Any) -> bool:
    """Returns whether a partial result's arrays may be changed.

    Those that came in a message may not.
    """
    if isinstance(partial, tuple):
        return all(map(_is_writeable, partial))
    return getattr(getattr(partial, "flags", None), "writeable", False)
