"""The server of a secure sum: bytes in, bytes out.

It keeps one running sum of masked vectors; no vector without a mask is ever in
it, nor could it be computed from what the server receives.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tff_pipeline.secure_sum import keys, layout, masks, messages, shamir
from tff_pipeline.secure_sum.client import SEALED_BYTES
from tff_pipeline.secure_sum.layout import Array
from tff_pipeline.secure_sum.masks import MakeStream
from tff_pipeline.secure_sum.messages import SERVER, Kind, Message, Reader
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.refusals import (
    ForgedMessageError,
    MalformedMessageError,
    ReplayedMessageError,
    TooFewClientsError,
)

Share = dict[int, bytes]


class Server:
    """The server in one secure sum.

    It goes through five stages: KEYS, SHARES, MASKED, CONFIRMATION, UNMASKING.
    In each it `receive`s one message a client, from those that come, and then
    `close`s the stage, which gives the messages for the next one. A client that
    does not answer, or whose message is refused, has dropped out.
    """

    def __init__(
        self,
        parameters: Parameters,
        directory: Sequence[bytes],
        make_stream: MakeStream = masks.AesCtr,
    ):
        """Starts with the stage KEYS.

        Args:
          parameters: The sum's.
          directory: The public keys of all clients by number, 32 bytes each.
          make_stream: Makes masks from keys.
        """
        self.parameters = parameters
        self._directory, self._make_stream = directory, make_stream
        self._stage = Kind.KEYS
        # Those whose messages of the stages so far came.
        self._present: set[int] = set(range(parameters.num_clients))
        self._came: set[int] = set()
        self._keys: dict[int, bytes] = {}
        self._mask_keys: dict[int, bytes] = {}
        self._sealed: dict[int, Share] = {}
        self._sum = layout.zeros(parameters.layout)
        self._shared: set[int] = set()
        self._survivors: set[int] = set()
        self._bitmap = b""
        self._confirmations: dict[int, bytes] = {}
        self._seeds: dict[int, Share] = {}
        self._secrets: dict[int, Share] = {}

    def receive(self, raw: bytes) -> int:
        """Takes a client's message.

        Args:
          raw: The message.

        Returns:
          The number of the client.

        Raises:
          SecureSumError: If the message is refused; it then counts as if it had
            not come.
        """
        stage = self._stage
        message = messages.read(
            self.parameters, raw, stage, SERVER, self._directory.__getitem__
        )
        client = message.sender
        if client in self._came:
            raise ReplayedMessageError("A client's message came a second time.")
        if client not in self._present:
            raise ForgedMessageError("A message is of a client that dropped.")
        take: Callable[[Message], None] = getattr(
            self, f"_take_{stage.name.lower()}"
        )
        take(message)
        self._came.add(client)
        return client

    def close(self) -> dict[int, bytes]:
        """Ends a stage: who has not answered has dropped out.

        Returns:
          The message for each client of the next stage, by its number; none
          after the last stage.

        Raises:
          TooFewClientsError: If of some neighbourhood fewer are left than the
            threshold; there will be no sum.
        """
        self._present, self._came = self._came, set()
        stage = self._stage
        if stage is Kind.KEYS:
            self._check_counts(self._present)
            self._stage = Kind.SHARES
            return self._answers(Kind.ROSTER, self._roster)
        if stage is Kind.SHARES:
            self._shared = set(self._present)
            self._check_counts(self._shared)
            self._stage = Kind.MASKED
            return self._answers(Kind.DELIVERY, self._delivery)
        # The secrets of all that have shared them are needed.
        self._check_counts(self._shared)
        if stage is Kind.MASKED:
            self._survivors = set(self._present)
            self._bitmap = messages.write_list(
                self._survivors, self.parameters.num_clients
            )
            self._stage = Kind.CONFIRMATION
            return self._answers(Kind.SURVIVORS, lambda _: self._bitmap)
        if stage is Kind.CONFIRMATION:
            self._stage = Kind.UNMASKING
            return self._answers(Kind.REQUEST, self._request)
        self._remove_masks()
        return {}

    def result(self) -> list[Array]:
        """Returns the sum of the survivors' vectors, modulo their moduli."""
        return self._sum

    def _answers(
        self, kind: Kind, body: Callable[[int], bytes]
    ) -> dict[int, bytes]:
        return {
            client: messages.write(
                self.parameters, kind, SERVER, client, [body(client)]
            )
            for client in sorted(self._present)
        }

    def _near(self, client: int, among: Iterable[int]) -> list[int]:
        """Lists the neighbours of a client that are in a set, itself too."""
        among = set(among)
        return [c for c in self.parameters.neighbourhood(client) if c in among]

    def _check_counts(self, clients: Iterable[int]) -> None:
        """Checks that enough are present to recover what `clients` share."""
        threshold = self.parameters.threshold
        fewest = min(
            (len(self._near(client, self._present)) for client in clients),
            default=0,
        )
        if fewest < threshold:
            raise TooFewClientsError(
                f"The secure sum is given up: at {self._stage.name} "
                f"{len(self._present)} of {self.parameters.num_clients} "
                f"clients are left, in one neighbourhood {fewest}, fewer than "
                f"the threshold of {threshold} (--secure_aggregation_"
                "threshold)."
            )

    def _take_keys(self, message: Message) -> None:
        with Reader(message.body) as reader:
            _, mask_key, digest = (reader.take(32) for _ in range(3))
        if digest != self.parameters.digest:
            raise ForgedMessageError("A client has other parameters.")
        self._keys[message.sender] = message.raw
        self._mask_keys[message.sender] = mask_key

    def _roster(self, client: int) -> bytes:
        return messages.records(
            {
                other: self._keys[other]
                for other in self._near(client, self._present)
                if other != client
            }
        )

    def _take_shares(self, message: Message) -> None:
        with Reader(message.body) as reader:
            sealed = reader.records(SEALED_BYTES)
        near = set(self._near(message.sender, self._present))
        if set(sealed) != near - {message.sender}:
            raise MalformedMessageError("Shares are not for all neighbours.")
        self._sealed[message.sender] = sealed

    def _delivery(self, client: int) -> bytes:
        return messages.records(
            {
                other: self._sealed[other][client]
                for other in self._near(client, self._present)
                if other != client
            }
        )

    def _take_masked(self, message: Message) -> None:
        vector = layout.from_bytes(self.parameters.layout, message.body)
        for total, numbers in zip(self._sum, vector):
            np.add(total, numbers, out=total)

    def _take_confirmation(self, message: Message) -> None:
        if bytes(message.body) != hashlib.sha256(self._bitmap).digest():
            raise ForgedMessageError("A client has signed another list.")
        self._confirmations[message.sender] = message.raw

    def _request(self, client: int) -> bytes:
        survivors = self._near(client, self._survivors)
        dropped = self._near(client, self._shared - self._survivors)
        confirmed = {
            other: self._confirmations[other]
            for other in self._near(client, self._present)
            if other != client
        }
        return (
            messages.numbers(survivors)
            + messages.numbers(dropped)
            + messages.records(confirmed)
        )

    def _take_unmasking(self, message: Message) -> None:
        with Reader(message.body) as reader:
            seeds = reader.records(shamir.SHARE_BYTES)
            secrets = reader.records(shamir.SHARE_BYTES)
        dropped = self._shared - self._survivors
        if set(seeds) != set(
            self._near(message.sender, self._survivors)
        ) or set(secrets) != set(self._near(message.sender, dropped)):
            raise MalformedMessageError("Shares are of other clients.")
        self._seeds[message.sender] = seeds
        self._secrets[message.sender] = secrets

    def _remove_masks(self) -> None:
        """Takes the masks that have not cancelled from the sum."""
        for client in sorted(self._survivors):
            seed = self._recovered(client, self._seeds)
            key = keys.own_mask_key(self.parameters, seed, client)
            masks.subtract(self._sum, self._make_stream(key))
        for client in sorted(self._shared - self._survivors):
            self._remove_pair_masks(client)
        for segment, numbers in zip(self.parameters.layout, self._sum):
            segment.reduce(numbers)

    def _remove_pair_masks(self, dropped: int) -> None:
        """Takes from the sum what survivors masked against a dropped client."""
        secret = self._recovered(dropped, self._secrets)
        private = X25519PrivateKey.from_private_bytes(secret)
        if keys.public_bytes(private) != self._mask_keys[dropped]:
            raise ForgedMessageError(
                "The shares of a client's key do not give its key."
            )
        for other in self._near(dropped, self._survivors):
            key = keys.pair_mask_key(
                self.parameters,
                private,
                self._mask_keys[other],
                dropped,
                other,
            )
            apply = masks.subtract if other < dropped else masks.add
            apply(self._sum, self._make_stream(key))

    def _recovered(self, client: int, shares: dict[int, Share]) -> bytes:
        """Recovers a client's secret from the shares of its neighbourhood."""
        holders = self._near(client, self._present)
        holders = holders[: self.parameters.threshold]
        return shamir.combine(
            [holder + 1 for holder in holders],
            [
                np.frombuffer(shares[holder][client], "<u2")
                for holder in holders
            ],
        )
