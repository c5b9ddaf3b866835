"""Measures the messages with which clients send their vectors."""

from collections.abc import Sequence
from typing import Any, Optional

from tff_pipeline.secure_sum.layout import Array, Layout


class Measured:
    """Carries out sums by a protocol, and measures what a client sends.

    Example:
      >>> import numpy as np
      >>> from tff_pipeline.secure_sum.layout import Segment
      >>> from tff_pipeline.secure_sum.plain import Plain
      >>> protocol = Measured(Plain())
      >>> run = protocol.begin(1, (Segment(length=8, bits=3),))
      >>> run.receive(run.masked(0, [np.arange(8)]))
      >>> run.result()
      [array([0, 1, 2, 3, 4, 5, 6, 7], dtype=uint8)]
      >>> protocol.take(), protocol.take()
      (3, None)
    """

    def __init__(self, protocol: Any):
        """Wraps a protocol.

        Args:
          protocol: A `runtime.secure_sums.SecureSumProtocol`.
        """
        self._protocol = protocol
        self._lengths: list[int] = []

    def begin(self, num_clients: int, layout: Layout, each: Any = map) -> Any:
        """Begins a sum by the protocol.

        Args:
          num_clients: How many clients came.
          layout: The form of their vectors.
          each: Calls a function for each client, like `map`.
        """
        run = self._protocol.begin(num_clients, layout, each)
        return _Run(run, self._lengths)

    def take(self) -> Optional[int]:
        """Returns the bytes of a client's vectors since the last call.

        All clients of a sum send messages of one length, which those of several
        sums in a round add up to. Keys, shares and confirmations are not in it.

        Returns:
          The length; `None` if there was no sum, or none came to its end.
        """
        total = sum(self._lengths)
        self._lengths.clear()
        return total or None


class _Run:
    """One sum, whose messages are measured as the server receives them."""

    def __init__(self, run: Any, lengths: list[int]):
        self._run, self._lengths, self._length = run, lengths, 0

    def masked(self, client: int, vector: Sequence[Array]) -> bytes:
        message: bytes = self._run.masked(client, vector)
        return message

    def receive(self, message: bytes) -> None:
        self._length = max(self._length, len(message))
        self._run.receive(message)

    def result(self) -> list[Array]:
        total: list[Array] = self._run.result()
        self._lengths.append(self._length)
        return total
