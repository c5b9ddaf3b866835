"""Carries out secure sums in one process: all clients, and the server.

The runtime hands over each client's vector as it is computed; the objects of
clients and server exchange bytes as they would between machines.
"""

import enum
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Optional

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tff_pipeline.secure_sum import keys
from tff_pipeline.secure_sum.client import Client
from tff_pipeline.secure_sum.layout import Array, Layout
from tff_pipeline.secure_sum.parameters import SESSION_BYTES, Parameters
from tff_pipeline.secure_sum.server import Server


class Stage(enum.IntEnum):
    """Stages of the protocol, each with one message of every client."""

    KEYS = 0
    SHARES = 1
    MASKED = 2
    CONFIRMATION = 3
    UNMASKING = 4


# From a sum's number in its session and a client's number to the stage in which
# the client no longer answers; `None` if it stays.
DropOut = Callable[[int, int], Optional[Stage]]
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def nobody(number: int, client: int) -> Optional[Stage]:
    """Lets all clients stay; a `DropOut`."""
    del number, client
    return None


class Bonawitz:
    """The protocol of Bonawitz et al. 2017, as the runtime is handed it.

    Example:
      >>> import numpy as np
      >>> from tff_pipeline.secure_sum.layout import Segment
      >>> protocol = Bonawitz()
      >>> run = protocol.begin(3, (Segment(length=2, bits=8),))
      >>> for client, vector in enumerate([[1, 2], [3, 4], [255, 0]]):
      ...     run.receive(run.masked(client, [np.array(vector)]))
      >>> run.result()
      [array([3, 6], dtype=uint8)]
    """

    def __init__(
        self,
        neighbours: Optional[int] = None,
        threshold: int = 0,
        drop_out: DropOut = nobody,
    ):
        """Begins a session.

        Args:
          neighbours: How many others hold shares of a client; `None` for all.
          threshold: How many of a neighbourhood must stay; 0 for the least that
            is more than half of it.
          drop_out: Says who leaves in which stage, to simulate it.
        """
        self._neighbours, self._threshold = neighbours, threshold
        self._drop_out = drop_out
        self._session = os.urandom(SESSION_BYTES)
        self._number = 0

    def begin(self, num_clients: int, layout: Layout, each: Map = map) -> "Run":
        """Begins a sum: clients agree on keys and share their secrets.

        Args:
          num_clients: How many clients came.
          layout: The form of their vectors.
          each: Calls a function for each client, like `map`, maybe on threads.

        Raises:
          TooFewClientsError: If too few came, or stayed so far.
        """
        self._number += 1
        number = self._number
        parameters = Parameters(
            self._session,
            number,
            num_clients,
            layout,
            self._neighbours,
            self._threshold,
        )
        return Run(parameters, lambda c: self._drop_out(number, c), each)


class Run:
    """One secure sum, with its clients and its server.

    Attributes:
      parameters: The sum's parameters.
      bytes_up: The bytes that each client has sent, by its number.
      bytes_down: The bytes that it has received.
    """

    def __init__(
        self,
        parameters: Parameters,
        drop_out: Callable[[int], Optional[Stage]],
        each: Map,
    ):
        """Makes the clients and the server, and goes through two stages.

        Args:
          parameters: The sum's.
          drop_out: From a client's number to the stage in which it leaves.
          each: Calls a function for each client, like `map`.

        Raises:
          TooFewClientsError: If too few stay.
        """
        self.parameters = parameters
        everyone = range(parameters.num_clients)
        # What an authority would do that knows the clients.
        identities = [Ed25519PrivateKey.generate() for _ in everyone]
        directory = [keys.public_bytes(identity) for identity in identities]
        self._leaves = [drop_out(client) for client in everyone]
        self._server = Server(parameters, directory)
        self._each = each
        self.bytes_up = [0] * parameters.num_clients
        self.bytes_down = [0] * parameters.num_clients
        self._clients = [
            Client(parameters, number, identity, directory)
            for number, identity in enumerate(identities)
        ]
        rosters = self._stage(
            Stage.KEYS,
            lambda client, _: client.advertise(),
            dict.fromkeys(everyone, b""),
        )
        self._deliveries = self._stage(Stage.SHARES, Client.share_keys, rosters)

    def masked(self, client: int, vector: Sequence[Array]) -> bytes:
        """Masks a client's vector; may be called on any thread.

        Args:
          client: The client's number.
          vector: Its vector, arrays of integers as the layout has them.

        Returns:
          The client's message, or nothing if it has dropped out.
        """
        delivery = self._deliveries.get(client)
        if delivery is None or not self._stays(client, Stage.MASKED):
            return b""
        return self._clients[client].mask(delivery, vector)

    def receive(self, message: bytes) -> None:
        """Hands a client's masked vector to the server.

        Args:
          message: What `masked` returned.
        """
        if message:
            client = self._server.receive(message)
            self.bytes_up[client] += len(message)

    def result(self) -> list[Array]:
        """Ends the sum: survivors are confirmed, and masks removed.

        Returns:
          The sum of the vectors that came, modulo their moduli.

        Raises:
          TooFewClientsError: If too few are left to remove the masks.
        """
        lists = self._sent(self._server.close())
        requests = self._stage(Stage.CONFIRMATION, Client.confirm, lists)
        self._stage(Stage.UNMASKING, Client.unmask, requests)
        return self._server.result()

    def _stays(self, client: int, stage: Stage) -> bool:
        leaves = self._leaves[client]
        return leaves is None or stage < leaves

    def _stage(
        self,
        stage: Stage,
        answer: Callable[[Client, bytes], bytes],
        inbox: dict[int, bytes],
    ) -> dict[int, bytes]:
        """Lets the clients that stay answer; returns the server's answers."""
        clients = [c for c in inbox if self._stays(c, stage)]
        answers = self._each(
            lambda client: answer(self._clients[client], inbox[client]), clients
        )
        for client, message in zip(clients, answers):
            self._server.receive(message)
            self.bytes_up[client] += len(message)
        return self._sent(self._server.close())

    def _sent(self, answers: dict[int, bytes]) -> dict[int, bytes]:
        for client, message in answers.items():
            self.bytes_down[client] += len(message)
        return answers
