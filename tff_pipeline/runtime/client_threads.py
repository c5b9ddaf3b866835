"""Computes the clients of a cohort on threads of this process."""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from tff_pipeline import timing
from tff_pipeline.runtime import shards
from tff_pipeline.runtime.passes import OfShard, Pass

# How many clients may be computed and not yet folded, beside those that are
# being computed.
_AHEAD = 1


class ClientThreads:
    """Computes clients on threads, and folds them in the caller's."""

    def __init__(
        self,
        pool: concurrent.futures.Executor,
        num_threads: int,
        num_clients: int,
        clients_per_shard: int,
    ):
        """Begins nothing yet.

        Args:
          pool: The threads.
          num_threads: Their number.
          num_clients: The number of clients in the cohort.
          clients_per_shard: How many consecutive clients are folded on their
            own.
        """
        self._pool = pool
        self._in_flight = num_threads + _AHEAD
        self._num_clients = num_clients
        self._clients_per_shard = clients_per_shard

    def each(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterable[Any]:
        """Calls a function on each item, on the threads."""
        return self._pool.map(function, items)

    def of_shards(self, one: Pass, chain: shards.Chain) -> Iterator[OfShard]:
        """Yields what each shard of the cohort gives, in order.

        Args:
          one: The pass.
          chain: Where the results go.
        """
        with contextlib.closing(self._in_order(one.on_client)) as clients:
            for shard in shards.cut(self._num_clients, self._clients_per_shard):
                of_shard = itertools.islice(clients, len(shard))
                yield one.of_shard(of_shard, chain.spare)

    def _in_order(
        self, compute: Callable[[int], Any]
    ) -> Generator[Any, None, None]:
        """Yields compute(0), compute(1), ..., few ahead of what is taken."""
        waiting: collections.deque[concurrent.futures.Future[Any]]
        waiting = collections.deque()
        try:
            for client in range(self._num_clients):
                if len(waiting) == self._in_flight:
                    yield _result(waiting.popleft())
                waiting.append(self._pool.submit(compute, client))
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()


def _result(future: "concurrent.futures.Future[Any]") -> Any:
    with timing.span("client work"):
        return future.result()
