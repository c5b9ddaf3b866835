"""A secure sum whose every message a test sees, and may change."""

import hashlib

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tff_pipeline.secure_sum import keys, masks
from tff_pipeline.secure_sum.bonawitz import Bonawitz, Stage
from tff_pipeline.secure_sum.client import Client
from tff_pipeline.secure_sum.layout import Segment
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.server import Server

SESSION = bytes(range(16))
FOUR_NUMBERS = (Segment(4, 32),)


def source(label):
    """Random bytes that are the same in every run."""
    count = 0

    def random_bytes(size):
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{label} {count}".encode()).digest(size)

    return random_bytes


class OtherMask:
    """The mask of a key plus a number: as likely as the mask itself."""

    def __init__(self, key, numbers):
        content = bytearray(numbers.nbytes + 15)
        masks.AesCtr(key).fill(content, numbers.nbytes)
        mask = np.frombuffer(content, numbers.dtype, numbers.size) + numbers
        self._content, self._place = mask.tobytes(), 0

    def fill(self, buffer, count):
        end = self._place + count
        buffer[:count] = self._content[self._place : end]
        self._place = end


class LosesTwoInTheSecondSum(Bonawitz):
    """The protocol, of whose second sum two clients drop out."""

    def __init__(self, neighbours, threshold):
        super().__init__(
            neighbours,
            threshold,
            lambda number, client: (
                Stage.MASKED if number == 2 and client < 2 else None
            ),
        )


class LosesThree(Bonawitz):
    """The protocol, in which three clients drop out of every sum."""

    def __init__(self, neighbours, threshold):
        super().__init__(
            neighbours,
            threshold,
            lambda _, client: Stage.SHARES if client < 3 else None,
        )


class Exchange:
    """Clients and a server, whose secrets are functions of a label."""

    def __init__(
        self,
        num_clients,
        layout=FOUR_NUMBERS,
        *,
        threshold=0,
        neighbours=None,
        round_number=1,
        session=SESSION,
        label="exchange",
        shifted=None,
    ):
        self.parameters = Parameters(
            session, round_number, num_clients, layout, neighbours, threshold
        )
        self.identities = [
            Ed25519PrivateKey.from_private_bytes(
                source(f"identity {client}")(32)
            )
            for client in range(num_clients)
        ]
        directory = [keys.public_bytes(each) for each in self.identities]
        # Key -> what is added to its mask.
        self.shifted = shifted or {}
        self.server_keys = []
        self.server = Server(
            self.parameters, directory, self._streams(self.server_keys)
        )
        self.client_keys = [[] for _ in range(num_clients)]
        self.clients = [
            Client(
                self.parameters,
                client,
                self.identities[client],
                directory,
                source(f"{label} {client}"),
                self._streams(self.client_keys[client]),
            )
            for client in range(num_clients)
        ]
        # All that the server received and sent, in order.
        self.transcript = []

    def _streams(self, asked):
        def make(key):
            asked.append(key)
            if key in self.shifted:
                return OtherMask(key, self.shifted[key])
            return masks.AesCtr(key)

        return make

    def receive(self, messages):
        for message in messages:
            self.transcript.append(message)
            self.server.receive(message)

    def close(self):
        answers = self.server.close()
        self.transcript += answers.values()
        return answers

    def rosters(self, clients=None):
        chosen = self.clients if clients is None else clients
        self.receive([client.advertise() for client in chosen])
        return self.close()

    def deliveries(self):
        return self._all(Client.share_keys, self.rosters())

    def survivor_lists(self, vectors):
        deliveries = self.deliveries()
        self.receive(
            self.clients[client].mask(delivery, vectors[client])
            for client, delivery in deliveries.items()
            if vectors[client] is not None
        )
        return self.close()

    def requests(self, vectors):
        return self._all(Client.confirm, self.survivor_lists(vectors))

    def sum(self, vectors):
        """Runs all stages; a client whose vector is None drops out."""
        self._all(Client.unmask, self.requests(vectors))
        return self.server.result()

    def _all(self, answer, inbox):
        self.receive(
            answer(self.clients[client], message)
            for client, message in inbox.items()
        )
        return self.close()
