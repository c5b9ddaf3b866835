"""Computes a graph of nodes in passes over the clients.

There are as few passes as the data allow: one for all reductions that need
nothing of each other, another for those that need the first one's results. In a
pass, threads compute clients; what they bring is folded in fixed shards, in the
clients' order whatever thread ends first, so that sums have the same bits for
any number of threads. A client's values are dropped when they are folded,
unless a later pass or the caller needs them.
"""

import collections
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from tff_pipeline import timing
from tff_pipeline.runtime import secure_sums, shards
from tff_pipeline.runtime.dataflow import (
    OnClients,
    OnServer,
    Reduced,
    reachable,
)


def run(
    targets: Iterable[Any],
    num_clients: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
    clients_per_shard: int,
) -> None:
    """Computes nodes and all that they need.

    Args:
      targets: `OnServer` and `OnClients`; afterwards `value()` of the former
        and `kept` of the latter are there.
      num_clients: The number of clients in the cohort.
      pool: Computes clients.
      in_flight: How many clients may be computed and not yet folded.
      clients_per_shard: How many consecutive clients are folded on their own.
    """
    nodes = reachable(targets)
    reduced = [node for node in nodes if isinstance(node, Reduced)]
    keep = [node for node in targets if isinstance(node, OnClients)]
    for node in nodes:
        if isinstance(node, OnClients):
            keep += [
                source
                for source in node.clients
                if source.number_of_pass < node.number_of_pass
            ]
    keep = [node for node in dict.fromkeys(keep) if node.kept is None]
    last = max(
        [n.pass_over for n in reduced] + [n.number_of_pass for n in keep],
        default=0,
    )
    for number in range(last + 1):
        _one_pass(
            [node for node in reduced if node.pass_over == number],
            [node for node in keep if node.number_of_pass == number],
            num_clients,
            pool,
            in_flight,
            clients_per_shard,
        )


def _one_pass(
    reduced: Sequence[Reduced],
    keep: Sequence[OnClients],
    num_clients: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
    clients_per_shard: int,
) -> None:
    if not reduced and not keep:
        return
    reduced = secure_sums.joined(reduced, num_clients, pool)
    targets = [node.clients for node in reduced] + list(keep)
    # Broadcast values are computed once, here, and not by racing threads.
    for source in reachable(targets):
        if isinstance(source, OnServer):
            source.value()

    def compute(client: int) -> list[Any]:
        known: dict[OnClients, Any] = {}
        with timing.span("clients"):
            return [node.on_client(client, known) for node in targets]

    makes = [node.make for node in reduced]
    chain = shards.Chain(makes)
    kept: list[list[Any]] = [[] for _ in keep]

    def keeping(clients: Iterable[Any]) -> Iterator[Any]:
        for values in clients:
            for of_node, value in zip(kept, values[len(makes) :]):
                of_node.append(value)
            yield values

    with contextlib.closing(
        _in_order(compute, num_clients, pool, in_flight)
    ) as clients:
        for shard in shards.cut(num_clients, clients_per_shard):
            of_shard = itertools.islice(clients, len(shard))
            chain.add(shards.fold(makes, keeping(of_shard), chain.spare))
    for node, result in zip(reduced, chain.results()):
        node.set(result)
    for kept_node, of_node in zip(keep, kept):
        kept_node.kept = of_node


def _in_order(
    compute: Callable[[int], Any],
    count: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
) -> Generator[Any, None, None]:
    """Yields compute(0), compute(1), ..., at most `in_flight` ahead."""
    waiting: collections.deque[concurrent.futures.Future[Any]]
    waiting = collections.deque()
    try:
        for client in range(count):
            if len(waiting) == in_flight:
                yield _result(waiting.popleft())
            waiting.append(pool.submit(compute, client))
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for future in waiting:
            future.cancel()


def _result(future: "concurrent.futures.Future[Any]") -> Any:
    with timing.span("client work"):
        return future.result()
