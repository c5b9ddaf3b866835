"""Values on clients and on the server, laid out as a graph of nodes.

A federated computation is first laid out; nothing runs. `passes.run` then
computes what is asked for.
"""

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

    def set(self, value: Any) -> None:
        """Takes the value, which a pass brought or another machine computed."""
        self._value, self._done = value, True

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
        self.kept: Optional[Any] = None

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


def release(nodes: Iterable[Any]) -> None:
    """Lets go of all values; the nodes may be parts of reference cycles.

    Such cycles wait for Python's collector, and a round's models and data are
    too large to wait.

    Args:
      nodes: `OnServer` and `OnClients`; those that they depend on are released
        too.
    """
    for node in reachable(nodes, beyond_kept=True):
        node.release()


def reachable(targets: Iterable[Any], beyond_kept: bool = False) -> list[Any]:
    """Returns nodes and all nodes that they depend on.

    Args:
      targets: `OnServer` and `OnClients`.
      beyond_kept: Whether to include nodes that only kept values were computed
        from.
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
