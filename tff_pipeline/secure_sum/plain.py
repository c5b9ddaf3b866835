"""Adds vectors in the open, as they would be sent without masks.

Clients pack their vectors as `bonawitz` packs masked ones, so that what they
send has a length that is measured, and the server reads them one by one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tff_pipeline.secure_sum import layout as layouts
from tff_pipeline.secure_sum.layout import Array, Layout


class Plain:
    """Sums without a protocol, as the runtime is handed it.

    Example:
      >>> from tff_pipeline.secure_sum.layout import Segment
      >>> run = Plain().begin(2, (Segment(length=2, bits=8),))
      >>> message = run.masked(0, [np.array([1, 255])])
      >>> len(message)
      2
      >>> run.receive(message)
      >>> run.receive(run.masked(1, [np.array([2, 3])]))
      >>> run.result()
      [array([3, 2], dtype=uint8)]
    """

    def begin(self, num_clients: int, layout: Layout, each: Any = map) -> "Run":
        """Begins a sum.

        Args:
          num_clients: Not used; one client's sum is its vector.
          layout: The form of the vectors.
          each: Not used, for there is nothing to agree on.
        """
        del num_clients, each
        return Run(layout)


class Run:
    """One sum, in the open."""

    def __init__(self, layout: Layout):
        """Begins with zeros.

        Args:
          layout: The form of the vectors.
        """
        self._layout = layout
        self._sum = layouts.zeros(layout)

    def masked(self, client: int, vector: Sequence[Array]) -> bytes:
        """Packs a client's vector, which nothing masks.

        Args:
          client: Not used.
          vector: Its vector, arrays of integers as the layout has them.
        """
        del client
        reduced = layouts.copied(self._layout, vector)
        return b"".join(layouts.to_bytes(self._layout, reduced))

    def receive(self, message: bytes) -> None:
        """Adds a client's vector.

        Args:
          message: What `masked` returned.
        """
        vector = layouts.from_bytes(self._layout, memoryview(message))
        for total, numbers in zip(self._sum, vector):
            np.add(total, numbers, out=total)

    def result(self) -> list[Array]:
        """Returns the sum, modulo the segments' moduli."""
        for segment, numbers in zip(self._layout, self._sum):
            segment.reduce(numbers)
        return self._sum
