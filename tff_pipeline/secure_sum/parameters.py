"""What clients and server of a secure sum agree on beforehand."""

import dataclasses
import functools
import hashlib
import struct
from typing import Optional

from tff_pipeline.secure_sum import graph, shamir
from tff_pipeline.secure_sum.layout import Layout
from tff_pipeline.secure_sum.refusals import TooFewClientsError

SESSION_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The parameters of one secure sum.

    Attributes:
      session: The session's id, 16 random bytes.
      round_number: The number of the sum in its session; both stand in every
        message, so that none can be used again.
      num_clients: How many clients are invited; they are numbered from 0.
      layout: The form of the vectors.
      neighbours: How many others hold shares of a client; `None` for all.
      threshold: How many of a client's neighbourhood, which is its neighbours
        and itself, must answer to the end. By default the least that is more
        than half of it.

    Raises:
      TooFewClientsError: If there are too few clients for a sum that hides
        anything, or for the threshold.
      ValueError: If the parameters do not go together.
    """

    session: bytes
    round_number: int
    num_clients: int
    layout: Layout
    neighbours: Optional[int] = None
    threshold: int = 0

    def __post_init__(self) -> None:
        if len(self.session) != SESSION_BYTES:
            raise ValueError(f"A session's id has {SESSION_BYTES} bytes.")
        if self.num_clients < 2:
            raise TooFewClientsError(
                f"{self.num_clients} client came, and a secure sum of one "
                "would be its value; at least 2 must."
            )
        if self.num_clients > shamir.MOST_HOLDERS:
            raise ValueError(
                f"{self.num_clients} clients are more than the "
                f"{shamir.MOST_HOLDERS} that secrets can be shared among."
            )
        if self.neighbours is not None and (
            self.neighbours < 2 or self.neighbours % 2
        ):
            raise ValueError("The number of neighbours must be even, from 2.")
        size = self.neighbourhood_size
        if not self.threshold:
            object.__setattr__(self, "threshold", size // 2 + 1)
        if self.threshold > size:
            raise TooFewClientsError(
                f"{size} clients of a neighbourhood came, fewer than the "
                f"threshold of {self.threshold}."
            )
        if 2 * self.threshold <= size:
            raise TooFewClientsError(
                f"A threshold of {self.threshold} is not more than half of "
                f"the {size} clients of a neighbourhood, so that the server "
                "could learn both secrets of a client."
            )

    @property
    def neighbourhood_size(self) -> int:
        """Number of the clients that hold shares of a client, with itself."""
        if self.neighbours is None:
            return self.num_clients
        return min(self.num_clients, self.neighbours + 1)

    def neighbourhood(self, client: int) -> tuple[int, ...]:
        """Lists the neighbours of a client and the client itself, sorted.

        Args:
          client: The client's number.
        """
        return graph.neighbourhood(
            self.session,
            self.num_clients,
            self.neighbourhood_size - 1,
            client,
        )

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of all parameters, by which clients see that theirs agree."""
        numbers = [
            self.round_number,
            self.num_clients,
            self.neighbourhood_size,
            self.threshold,
        ]
        for segment in self.layout:
            numbers += [segment.length, segment.bits]
        packed = struct.pack(f">{len(numbers)}Q", *numbers)
        return hashlib.sha256(self.session + packed).digest()
