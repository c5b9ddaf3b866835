"""Computes a graph of nodes in passes over the clients.

There are as few passes as the data allow: one for all reductions that need
nothing of each other, another for those that need the first one's results. In a
pass, clients are computed by a `ClientComputer`, in this process or elsewhere;
what they bring is folded in fixed shards, in the clients' order whoever ends
first, so that sums have the same bits for any number of threads and machines. A
client's values are dropped when they are folded, unless a later pass or the
caller needs them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from tff_pipeline import timing
from tff_pipeline.runtime import secure_sums, shards
from tff_pipeline.runtime.dataflow import (
    OnClients,
    OnServer,
    Reduced,
    reachable,
)

# Of one shard: the partial result of each reduction, and for each kept node
# its values on the shard's clients.
OfShard = tuple[Sequence[Any], Sequence[list[Any]]]


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass over the clients.

    Attributes:
      reduced: The reductions of the pass.
      keep: The values on clients that are needed after it.
    """

    reduced: Sequence[Reduced]
    keep: Sequence[OnClients]

    @functools.cached_property
    def targets(self) -> list[OnClients]:
        """What is computed on a client: for each reduction, then to keep."""
        return [node.clients for node in self.reduced] + list(self.keep)

    @property
    def makes(self) -> list[shards.Make]:
        """For each reduction a function that returns a new one."""
        return [node.make for node in self.reduced]

    def on_client(self, client: int) -> list[Any]:
        """Computes `targets` on one client.

        Args:
          client: The client's number in the cohort, from 0.
        """
        known: dict[OnClients, Any] = {}
        with timing.span("clients"):
            return [node.on_client(client, known) for node in self.targets]

    def of_shard(
        self, clients: Iterable[Sequence[Any]], spare: Any = None
    ) -> OfShard:
        """Folds one shard.

        Args:
          clients: For each of its clients, in order, what `on_client` gave.
          spare: Partial results that may be overwritten.
        """
        kept: list[list[Any]] = [[] for _ in self.keep]

        def keeping() -> Iterator[Sequence[Any]]:
            for values in clients:
                for of_node, value in zip(kept, values[len(self.reduced) :]):
                    of_node.append(value)
                yield values

        return shards.fold(self.makes, keeping(), spare), kept


class ClientComputer(Protocol):
    """Computes clients, on threads of this process or on other machines."""

    def each(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterable[Any]:
        """Calls a function of this process on each item, like `map`."""

    def of_shards(self, one: Pass, chain: shards.Chain) -> Iterator[OfShard]:
        """Yields what each shard of the cohort gives, in order.

        Args:
          one: The pass; all values at the server that it needs are there.
          chain: Where the results go, whose `spare` arrays may be overwritten.
        """


def run(
    targets: Iterable[Any], num_clients: int, computer: ClientComputer
) -> None:
    """Computes nodes and all that they need.

    Args:
      targets: `OnServer` and `OnClients`; afterwards `value()` of the former
        and `kept` of the latter are there.
      num_clients: The number of clients in the cohort.
      computer: Computes the clients.
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
        of_pass = Pass(
            [node for node in reduced if node.pass_over == number],
            [node for node in keep if node.number_of_pass == number],
        )
        if of_pass.targets:
            _one_pass(of_pass, num_clients, computer)


def _one_pass(one: Pass, num_clients: int, computer: ClientComputer) -> None:
    joined = secure_sums.joined(one.reduced, num_clients, computer.each)
    one = Pass(joined, one.keep)
    # Broadcast values are computed once, here, and not by racing threads.
    for source in reachable(one.targets):
        if isinstance(source, OnServer):
            source.value()
    chain = shards.Chain(one.makes)
    kept: list[list[Any]] = [[] for _ in one.keep]
    for partials, of_nodes in computer.of_shards(one, chain):
        chain.add(partials)
        for of_node, of_shard in zip(kept, of_nodes):
            of_node += of_shard
    for node, result in zip(one.reduced, chain.results()):
        node.set(result)
    for kept_node, of_cohort in zip(one.keep, kept):
        kept_node.kept = of_cohort
