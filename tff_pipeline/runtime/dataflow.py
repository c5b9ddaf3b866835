"""Values on clients and on the server, computed when they are asked for.

A federated computation is first laid out as a graph of nodes; nothing runs.
`run` then goes over the clients in as few passes as the data allow: one for
all reductions that need nothing of each other, another for those that need
the first one's results. In a pass, threads compute clients; what they bring is
folded in the clients' order whatever thread ends first, so that sums have the
same bits for any number of threads. A client's values are dropped when they
are folded, unless a later pass or the caller needs them.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Optional

from tff_pipeline import timing
from tff_pipeline.runtime.reductions import Reduction


class OnServer:
    """A value at the server, computed at most once.

    Attributes:
      number_of_pass: The first pass over the clients before which all that the
        value depends on has been reduced.
    """

    def __init__(self, compute: Callable[..., Any], *sources: "OnServer"):
        """Lays the value out.

        Args:
          compute: Takes the values of `sources`.
          sources: Values at the server that it needs.
        """
        self._compute: Any = compute
        self._sources = sources
        self._value: Any = None
        self._done = False
        self.number_of_pass: int = max(
            (s.number_of_pass for s in sources), default=0
        )

    def value(self) -> Any:
        """Computes the value; what it depends on must have been reduced."""
        if not self._done:
            values = [source.value() for source in self._sources]
            with timing.span("server"):
                self._value = self._compute(*values)
            self._done = True
        return self._value

    def sources(self) -> Iterator[Any]:
        """Yields the nodes that the value is computed from."""
        yield from self._sources

    def release(self) -> None:
        """Lets go of the value and of what it depends on."""
        self._value = self._compute = None
        self._sources = ()


class OnClients:
    """A value on every client: a function of the client's other values.

    Attributes:
      compute: The function.
      clients: Values on the same client that it needs.
      server: Values at the server that it needs.
      indexed: Whether the value depends on which client it is.
      number_of_pass: The first pass over the clients that can compute it.
      kept: The values of all clients in order, once a pass has kept them.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        clients: Sequence["OnClients"] = (),
        server: Sequence[OnServer] = (),
        indexed: bool = False,
    ):
        """Lays the value out.

        Args:
          compute: Takes the values of `clients`, then those of `server`; with
            `indexed`, the client's number before them.
          clients: Values on the same client that it needs.
          server: Values at the server that it needs.
          indexed: Whether it depends on which client it is.
        """
        self.compute: Any = compute
        self.clients = tuple(clients)
        self.server = tuple(server)
        self.indexed = indexed
        self.number_of_pass: int = max(
            (source.number_of_pass for source in self.sources()), default=0
        )
        self.kept: Optional[list[Any]] = None

    def sources(self) -> Iterator[Any]:
        """Yields the nodes that the value is computed from."""
        yield from self.clients
        yield from self.server

    def release(self) -> None:
        """Lets go of the values and of what they depend on."""
        self.kept = self.compute = None
        self.clients = self.server = ()

    def on_client(self, client: int, known: dict["OnClients", Any]) -> Any:
        """Computes the value on one client.

        Args:
          client: The client's number in the cohort, from 0.
          known: The client's values so far, by node; filled with what is
            computed on the way.
        """
        if self.kept is not None:
            return self.kept[client]
        if self not in known:
            values = [each.on_client(client, known) for each in self.clients]
            values += [source.value() for source in self.server]
            if self.indexed:
                values.insert(0, client)
            known[self] = self.compute(*values)
        return known[self]


class Reduced(OnServer):
    """A value at the server that a pass over the clients brings.

    Attributes:
      make: Returns a new reduction.
      clients: The value on clients that is reduced.
      pass_over: The number of the pass that brings it.
    """

    def __init__(self, make: Callable[[], Reduction], clients: OnClients):
        """Lays the value out.

        Args:
          make: Returns a new reduction.
          clients: The value on clients that is reduced.
        """
        super().__init__(lambda: None)
        self.make: Any = make
        self.clients = clients
        self.pass_over = clients.number_of_pass
        self.number_of_pass = self.pass_over + 1

    def set(self, value: Any) -> None:
        """Takes the value that its pass brought."""
        self._value, self._done = value, True

    def value(self) -> Any:
        """Returns the value; its pass must be over."""
        assert self._done, "a reduction was read before its pass"
        return self._value

    def sources(self) -> Iterator[Any]:
        """Yields the node that is reduced."""
        yield self.clients

    def release(self) -> None:
        """Lets go of the value and of what it depends on."""
        super().release()
        self.make = None


def run(
    targets: Iterable[Any],
    num_clients: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
) -> None:
    """Computes nodes and all that they need.

    Args:
      targets: `OnServer` and `OnClients`; afterwards `value()` of the former
        and `kept` of the latter are there.
      num_clients: The number of clients in the cohort.
      pool: Computes clients.
      in_flight: How many clients may be computed and not yet folded.
    """
    nodes = _reachable(targets)
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
        )


def release(nodes: Iterable[Any]) -> None:
    """Lets go of all values; the nodes may be parts of reference cycles.

    Such cycles wait for Python's collector, and a round's models and data are
    too large to wait.

    Args:
      nodes: `OnServer` and `OnClients`; those that they depend on are released
        too.
    """
    for node in _reachable(nodes, beyond_kept=True):
        node.release()


def _one_pass(
    reduced: Sequence[Reduced],
    keep: Sequence[OnClients],
    num_clients: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
) -> None:
    if not reduced and not keep:
        return
    folds = [node.make() for node in reduced]
    kept: list[list[Any]] = [[] for _ in keep]
    targets = [node.clients for node in reduced] + list(keep)
    # Broadcast values are computed once, here, and not by racing threads.
    for source in _reachable(targets):
        if isinstance(source, OnServer):
            source.value()

    def compute(client: int) -> list[Any]:
        known: dict[OnClients, Any] = {}
        with timing.span("clients"):
            return [node.on_client(client, known) for node in targets]

    for values in _in_order(compute, num_clients, pool, in_flight):
        with timing.span("aggregation"):
            for fold, value in zip(folds, values):
                fold.add(value)
        for values_of_node, value in zip(kept, values[len(folds) :]):
            values_of_node.append(value)
    with timing.span("aggregation"):
        for node, fold in zip(reduced, folds):
            node.set(fold.result())
    for kept_node, values_of_node in zip(keep, kept):
        kept_node.kept = values_of_node


def _in_order(
    compute: Callable[[int], Any],
    count: int,
    pool: concurrent.futures.Executor,
    in_flight: int,
) -> Iterator[Any]:
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


def _reachable(targets: Iterable[Any], beyond_kept: bool = False) -> list[Any]:
    """Returns `targets` and all nodes that they depend on.

    Nodes that only kept values were computed from are left out, unless
    `beyond_kept`.
    """
    seen: dict[Any, None] = {}
    waiting = list(targets)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            kept = isinstance(node, OnClients) and node.kept is not None
            if beyond_kept or not kept:
                waiting += list(node.sources())
    return list(seen)
