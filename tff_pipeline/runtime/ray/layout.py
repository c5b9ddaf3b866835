"""What travels between the driver and the machines that compute clients.

The driver and a machine lay out the same computation as the same graph, so
that a node has the same number on both. Of a pass, the driver sends what
clients read of the server (`Broadcast`) once to each machine, and of each shard
what its clients have (`Shard`). Running folds come back, and what a later pass
needs.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import tensorflow_federated as tff

from tff_pipeline.runtime import shards, values
from tff_pipeline.runtime.dataflow import OnClients, OnServer, reachable
from tff_pipeline.runtime.passes import OfShard, Pass

# Leaves of an argument without its values.
AT_SERVER, A_CLIENT, EVERYWHERE = "at server", "a client", "everywhere"


@dataclasses.dataclass(frozen=True)
class Program:
    """A computation as it is sent, once to each worker.

    Attributes:
      digest: The SHA-256 of the serialised computation.
      proto: The computation, as TFF serialises it.
    """

    digest: str
    proto: Any

    @classmethod
    def of(cls, block: tff.framework.ComputationBuildingBlock) -> "Program":
        """Prepares a computation to be sent.

        Args:
          block: The computation, in TFF's call-dominant form.
        """
        proto = block.proto
        text = proto.SerializeToString(deterministic=True)
        return cls(hashlib.sha256(text).hexdigest(), proto)


@dataclasses.dataclass(frozen=True)
class Broadcast:
    """All that the shards of a pass have in common.

    Attributes:
      argument: The computation's argument, with names of places for nodes.
      reduced: The numbers of the nodes that the pass reduces.
      keep: The numbers of the nodes whose values are returned.
      server: Number of a node -> its value, of those that clients read.
    """

    argument: Any
    reduced: Sequence[int]
    keep: Sequence[int]
    server: Mapping[int, Any]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A few clients of a cohort.

    Attributes:
      clients: Their numbers in the cohort.
      inputs: Number of a node -> its values on these clients, in order, of
        inputs and of what an earlier pass kept.
    """

    clients: range
    inputs: Mapping[int, Sequence[Any]]


class Layout:
    """The nodes of one call of a computation, by number.

    Attributes:
      nodes: The nodes; a node's number is its place.
    """

    def __init__(self, argument: Any, targets: Sequence[Any]):
        """Numbers the nodes; none must have been computed.

        Args:
          argument: The computation's argument, nested tuples with nodes.
          targets: The nodes of its result, as `Interpreter.lay_out` made them.
        """
        self._argument = argument
        self.nodes = reachable(targets)
        self._numbers = {node: i for i, node in enumerate(self.nodes)}

    def broadcast(self, one: Pass) -> Broadcast:
        """Collects what all shards of a pass need.

        Args:
          one: The pass; what it needs of the server has been computed.
        """
        needed = _on_clients(one.targets)
        numbers = self._numbers
        server = [source for node in needed for source in node.server]
        return Broadcast(
            _without_values(self._argument),
            [numbers[node] for node in one.reduced],
            [numbers[node] for node in one.keep],
            {
                **{numbers[node]: node.value() for node in server},
                **{
                    numbers[node]: node.everywhere
                    for node in needed
                    if isinstance(node, values.EverywhereInput)
                },
            },
        )

    def shard(self, one: Pass, clients: range) -> Shard:
        """Collects what the clients of a shard have.

        Args:
          one: The pass.
          clients: The clients' numbers in the cohort.
        """
        inputs = {}
        for node in _on_clients(one.targets):
            if node.kept is not None:
                inputs[self._numbers[node]] = node.kept
            elif isinstance(node, values.ClientInput):
                inputs[self._numbers[node]] = node.values
        return Shard(
            clients,
            {
                number: cohort[clients.start : clients.stop]
                for number, cohort in inputs.items()
            },
        )


class Workers(Protocol):
    """Computes shards, such as `pool.RayPool`."""

    def compute(
        self, program: Program, broadcast: Broadcast, shards: Sequence[Shard]
    ) -> Iterator[OfShard]:
        """Yields the results of shards, in their order."""


class OnWorkers:
    """Computes the clients of one call of a computation on workers."""

    def __init__(
        self,
        workers: Workers,
        program: Program,
        layout: Layout,
        cohort: Sequence[range],
    ):
        """Sends nothing yet.

        Args:
          workers: Compute the shards.
          program: The computation.
          layout: The nodes of the call.
          cohort: The numbers of the clients of each shard.
        """
        self._workers, self._program = workers, program
        self._layout, self._cohort = layout, cohort

    def each(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterable[Any]:
        """Calls a function on each item, like `map`."""
        return map(function, items)

    def of_shards(self, one: Pass, chain: shards.Chain) -> Iterator[OfShard]:
        """Yields what each shard of the cohort gives, in order.

        Args:
          one: The pass.
          chain: Where the results go.
        """
        del chain  # Results that come in messages need no spare arrays.
        return self._workers.compute(
            self._program,
            self._layout.broadcast(one),
            [self._layout.shard(one, clients) for clients in self._cohort],
        )


def _on_clients(targets: Sequence[OnClients]) -> list[OnClients]:
    """Returns the nodes on clients that are not known before a pass.

    With those that an earlier pass kept, but nothing behind these.
    """
    seen: dict[OnClients, None] = {}
    waiting = list(targets)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            if node.kept is None:
                waiting += node.clients
    return list(seen)


def _without_values(argument: Any) -> Any:
    """Replaces the nodes of an argument by the names of their places."""
    if isinstance(argument, tuple):
        return tuple(map(_without_values, argument))
    if isinstance(argument, OnServer):
        return AT_SERVER
    if isinstance(argument, values.ClientInput):
        return A_CLIENT
    if isinstance(argument, values.EverywhereInput):
        return EVERYWHERE
    raise NotImplementedError(
        "A computation whose argument is neither at the server nor on clients "
        "does not run on a cluster; use --runtime=in_process."
    )
