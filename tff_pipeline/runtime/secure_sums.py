"""Secure sums of TFF, carried out by a protocol that the runtime was handed.

All secure sums of a pass over the clients are segments of one vector, and one
run of the protocol. Clients agree on keys before the pass; then each vector is
masked on the thread that computed it and goes to the protocol's server as a
message, so that no more vectors are held than by a plain sum.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tff_pipeline.runtime import values
from tff_pipeline.runtime.dataflow import OnClients, Reduced
from tff_pipeline.runtime.graphs import flatten
from tff_pipeline.runtime.reductions import Elementwise, Reduction
from tff_pipeline.secure_sum import layout
from tff_pipeline.secure_sum.layout import Layout, Segment
from tff_pipeline.secure_sum.refusals import ModulusError, SecureSumError

Array = npt.NDArray[Any]


class SecureSumRun(Protocol):
    """One secure sum of a cohort, such as `secure_sum.bonawitz.Run`."""

    def masked(self, client: int, vector: Sequence[Array]) -> bytes:
        """Returns a client's message; nothing if it has dropped out."""

    def receive(self, message: bytes) -> None:
        """Hands a client's message to the server."""

    def result(self) -> Sequence[Array]:
        """Returns the sum of the vectors, modulo the segments' moduli."""


class SecureSumProtocol(Protocol):
    """A way to sum vectors, such as `secure_sum.bonawitz.Bonawitz`."""

    def begin(
        self, num_clients: int, layout: Layout, each: Any
    ) -> SecureSumRun:
        """Begins a sum of a cohort; `each` calls a function like `map`."""


class SecurelySummed(Reduced):
    """A secure sum in the dataflow."""

    def __init__(
        self,
        protocol: SecureSumProtocol,
        clients: OnClients,
        kind: Any,
        *,
        largest: Sequence[int] = (),
        moduli: Sequence[int] = (),
    ):
        """Lays the sum out.

        Args:
          protocol: What carries it out.
          clients: The value on clients, of integers.
          kind: The type of a client's value.
          largest: The largest number in each leaf of a value, for an exact sum.
          moduli: The modulus of each leaf, powers of two, for a modular sum.

        Raises:
          ModulusError: If a modulus is no power of two.
        """

        def empty() -> Any:
            return values.zeros(kind)

        # A sum of no clients needs no protocol.
        super().__init__(lambda: Elementwise(np.add, empty), clients)
        for modulus in moduli:
            if modulus < 2 or modulus & (modulus - 1):
                raise ModulusError(
                    f"The modulus of a secure modular sum is {modulus}; with "
                    "--secure_aggregation=bonawitz it must be a power of two, "
                    "for any other would show more than the sum modulo it."
                )
        self.protocol = protocol
        self._template = empty()
        self._leaves = flatten(self._template)
        self._largest, self._moduli = largest, moduli

    def layout(self, num_clients: int) -> Layout:
        """Returns the segments of the protocol's vector, one for each leaf.

        An exact sum's modulus is above clients times range.

        Args:
          num_clients: How many clients there are.

        Raises:
          ModulusError: If that takes more bits than there are.
        """
        bits = [modulus.bit_length() - 1 for modulus in self._moduli] or [
            layout.bits_of_sum(num_clients, largest)
            for largest in self._largest
        ]
        return tuple(
            Segment(leaf.size, each) for leaf, each in zip(self._leaves, bits)
        )

    def vector(self, value: Any) -> list[Array]:
        """Returns a client's value as segments of a vector.

        Args:
          value: The value, nested tuples of arrays of integers.

        Raises:
          SecureSumError: If a number is out of the range of an exact sum.
        """
        leaves = [np.asarray(leaf).reshape(-1) for leaf in flatten(value)]
        for leaf, largest in zip(leaves, self._largest):
            if leaf.size and not 0 <= leaf.min() <= leaf.max() <= largest:
                raise SecureSumError(
                    "A client's value for a secure sum is out of the range "
                    f"from 0 to {largest} that the sum was announced for."
                )
        return leaves

    def take(self, segments: Iterator[Array]) -> None:
        """Takes its segments of the sum, in the types of the value.

        Args:
          segments: The segments from its first one on.
        """
        leaves = [
            next(segments).astype(leaf.dtype).reshape(leaf.shape)
            for leaf in self._leaves
        ]
        self.set(values.refill(self._template, iter(leaves)))


class _Together(Reduced):
    """All secure sums of one pass, as one run of a protocol."""

    def __init__(self, sums: Sequence[SecurelySummed], run: SecureSumRun):
        def message(client: int, *of_client: Any) -> bytes:
            vector = [
                segment
                for one, value in zip(sums, of_client)
                for segment in one.vector(value)
            ]
            return run.masked(client, vector)

        sources = [one.clients for one in sums]
        super().__init__(
            lambda: _Messages(run), OnClients(message, sources, indexed=True)
        )
        self._sums = sums

    def set(self, value: Any) -> None:
        """Hands each sum its own segments."""
        segments = iter(value)
        for one in self._sums:
            one.take(segments)


class _Messages(Reduction):
    """Collects a shard's messages; in the chain, hands them to the server."""

    def __init__(self, run: SecureSumRun):
        self._run = run
        self._messages: tuple[bytes, ...] = ()

    def add(self, value: Any) -> None:
        self._messages += (value,)

    def partial(self) -> Any:
        return self._messages

    def merge(self, partial: Any) -> None:
        for message in partial:
            self._run.receive(message)

    def result(self) -> Any:
        return self._run.result()


def joined(
    reduced: Sequence[Reduced],
    num_clients: int,
    each: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]],
) -> list[Reduced]:
    """Joins the secure sums of a pass to one run of their protocol.

    Args:
      reduced: What the pass reduces.
      num_clients: The number of clients in the cohort.
      each: Calls a function on each item, like `map`, for the clients' part in
        the agreement on keys.

    Returns:
      What the pass has to reduce instead.

    Raises:
      SecureSumError: If there are too few clients, or a sum does not fit.
    """
    sums = [node for node in reduced if isinstance(node, SecurelySummed)]
    if not sums or not num_clients:
        return list(reduced)
    form = tuple(segment for one in sums for segment in one.layout(num_clients))
    run = sums[0].protocol.begin(num_clients, form, each)
    others = [node for node in reduced if node not in sums]
    return [*others, _Together(sums, run)]


def bounds(bound: Any, kind: Any) -> list[int]:
    """Returns the bound of each leaf of a value.

    Args:
      bound: The bound of all leaves, or one for each in nested tuples.
      kind: The type of the value.
    """
    numbers = [int(each) for each in flatten(bound)]
    if isinstance(bound, tuple):
        return numbers
    return numbers * len(flatten(values.zeros(kind)))
