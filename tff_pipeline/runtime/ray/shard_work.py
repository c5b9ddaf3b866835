"""Computes shards of a cohort on another machine than the driver's.

The driver and the machine lay out the same computation as the same graph, so
that a node has the same number on both. Of a pass, the driver sends what clients
read of the server (`Broadcast`) once to each machine, and of each shard what its
clients have (`Shard`). The machine computes these clients, folds them, and
returns the running results; nothing stays there but compiled functions. All
that it returns is a function of what it was sent and of the data that it reads,
so that a shard may be computed twice, or anywhere. Ray has no part in this.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_federated as tff
from tensorflow_federated.proto.v0 import computation_pb2

from tff_pipeline.runtime import values
from tff_pipeline.runtime.dataflow import (
    OnClients,
    OnServer,
    reachable,
    release,
)
from tff_pipeline.runtime.interpreter import Interpreter
from tff_pipeline.runtime.passes import OfShard, Pass

# From a reference to a client's data of a round.
Read = Callable[[values.Reference], Sequence[Any]]
# Leaves of an argument without its values.
_AT_SERVER, _A_CLIENT, _EVERYWHERE = "at server", "a client", "everywhere"
_NO_FILES: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Program:
    """A computation as it is sent, once to each worker.

    Attributes:
      digest: The SHA-256 of `text`.
      text: The serialised computation.
    """

    digest: str
    text: bytes

    @classmethod
    def of(cls, block: tff.framework.ComputationBuildingBlock) -> "Program":
        """Serialises a computation.

        Args:
          block: The computation, in TFF's call-dominant form.
        """
        text = block.proto.SerializeToString(deterministic=True)
        return cls(hashlib.sha256(text).hexdigest(), text)


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


class ShardWork:
    """Computes shards, whoever carries the messages."""

    def __init__(self, read: Read, files: Mapping[str, str] = _NO_FILES):
        """Knows no computation yet.

        Args:
          read: Reads what references stand for.
          files: Path of a file that the driver maps into memory -> its path
            here.
        """
        self._read, self._files = read, files
        self._interpreters: dict[str, Interpreter] = {}

    def compute(
        self, program: Program, broadcast: Broadcast, shard: Shard
    ) -> OfShard:
        """Computes the clients of a shard, and folds them.

        Args:
          program: The computation.
          broadcast: What all shards of the pass have in common.
          shard: The clients.

        Returns:
          The partial result of each reduction, and the values of each node that
          is kept.
        """
        interpreter = self._interpreter(program)
        argument = _with_nodes(broadcast.argument)
        targets = list(values.nodes(interpreter.lay_out(argument)))
        nodes = reachable(targets)
        try:
            for number, value in broadcast.server.items():
                if isinstance(nodes[number], OnServer):
                    nodes[number].set(value)
                else:
                    nodes[number].everywhere = value
            for number, cohort in shard.inputs.items():
                _give(nodes[number], shard.clients, cohort, self._read)
            one = Pass(
                [nodes[number] for number in broadcast.reduced],
                [nodes[number] for number in broadcast.keep],
            )
            return one.of_shard(map(one.on_client, shard.clients))
        finally:
            release([*targets, *values.nodes(argument)])

    def _interpreter(self, program: Program) -> Interpreter:
        """Returns the interpreter of a computation, made when it first comes.

        One of a run's few computations comes in every round.
        """
        if program.digest not in self._interpreters:
            proto = computation_pb2.Computation.FromString(program.text)
            block = tff.framework.ComputationBuildingBlock.from_proto(proto)
            self._interpreters[program.digest] = Interpreter(
                block, files=self._files
            )
        return self._interpreters[program.digest]


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
        return _AT_SERVER
    if isinstance(argument, values.ClientInput):
        return _A_CLIENT
    if isinstance(argument, values.EverywhereInput):
        return _EVERYWHERE
    raise NotImplementedError(
        "A computation whose argument is neither at the server nor on clients "
        "does not run on a cluster; use --runtime=in_process."
    )


def _with_nodes(argument: Any) -> Any:
    """Undoes `_without_values`, with nodes that have no values yet."""
    if isinstance(argument, tuple):
        return tuple(map(_with_nodes, argument))
    if argument == _AT_SERVER:
        return OnServer(_not_here)
    if argument == _A_CLIENT:
        return values.ClientInput([])
    return values.EverywhereInput(None)


def _give(
    node: OnClients, clients: range, cohort: Sequence[Any], read: Read
) -> None:
    """Gives a node its values on the clients of a shard."""

    def value(client: int) -> Any:
        found = cohort[client - clients.start]
        if isinstance(found, values.Reference):
            return list(read(found))
        return found

    # Computed once a client, however many nodes read it.
    node.compute, node.indexed = value, True
    node.clients = node.server = ()


def _not_here() -> Iterator[Any]:
    raise AssertionError("a value of the server was read, and not sent")
