"""Computes shards of a cohort on another machine than the driver's.

Nothing of a round stays on the machine. All that it returns is a function of
what it was sent and of the data that it reads, so that a shard may be computed
twice, or anywhere. Ray has no part in this.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Optional

import tensorflow_federated as tff

from tff_pipeline.runtime import values
from tff_pipeline.runtime.dataflow import (
    OnClients,
    OnServer,
    reachable,
    release,
)
from tff_pipeline.runtime.interpreter import Interpreter
from tff_pipeline.runtime.passes import OfShard, Pass
from tff_pipeline.runtime.ray.layout import (
    A_CLIENT,
    AT_SERVER,
    Broadcast,
    Program,
    Shard,
)

# From a reference to a client's data of a round.
Read = Callable[[Any], Sequence[Any]]


class ShardWork:
    """Computes shards, whoever carries the messages."""

    def __init__(self, read: Read, files: Optional[Mapping[str, str]] = None):
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
            block = tff.framework.ComputationBuildingBlock.from_proto(
                program.proto
            )
            self._interpreters[program.digest] = Interpreter(
                block, files=self._files
            )
        return self._interpreters[program.digest]


def _with_nodes(argument: Any) -> Any:
    """Makes an argument with nodes that have no values yet."""
    if isinstance(argument, tuple):
        return tuple(map(_with_nodes, argument))
    if argument == AT_SERVER:
        return OnServer(_not_here)
    if argument == A_CLIENT:
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


def _not_here() -> NoReturn:
    raise AssertionError("a value of the server was read, and not sent")
