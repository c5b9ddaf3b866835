"""A client of a secure sum: bytes in, bytes out.

Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving
Machine Learning", figure 4, with the consistency check against a server that
lies, and the neighbours of Bell et al. 2020 if the parameters have them.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Optional

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tff_pipeline.secure_sum import keys, layout, masks, messages, shamir
from tff_pipeline.secure_sum.layout import Array
from tff_pipeline.secure_sum.masks import MakeStream
from tff_pipeline.secure_sum.messages import SERVER, Kind, Message, Reader
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.refusals import (
    ForgedMessageError,
    OutOfOrderError,
    TooFewClientsError,
    UnfairRequestError,
)

# The body of a client's keys: the one for shares, the one for masks, and the
# digest of its parameters.
KEYS_BYTES = 3 * keys.PUBLIC_BYTES
# Shares of the mask key and of the seed, sealed.
SEALED_BYTES = 2 * shamir.SHARE_BYTES + keys.TAG_BYTES
DIGEST_BYTES = 32


class Client:
    """A client in one secure sum.

    Its methods are called in the order in which they stand here, each once. A
    message that is of another session, round, kind or receiver, or cut short,
    is refused and changes nothing. After one whose content is refused the
    client takes part no more: it will say nothing else that the server could
    put together with what it has said.
    """

    def __init__(
        self,
        parameters: Parameters,
        number: int,
        identity: Ed25519PrivateKey,
        directory: Sequence[bytes],
        random_bytes: shamir.RandomBytes = os.urandom,
        make_stream: MakeStream = masks.AesCtr,
    ):
        """Draws the keys of this sum.

        Args:
          parameters: The sum's.
          number: The client's number, from 0.
          identity: The key with which it signs.
          directory: The public keys of all clients by number, 32 bytes each,
            from somebody whom the clients trust, and not from the server.
          random_bytes: The source of its secrets; another than the operating
            system's only in tests.
          make_stream: Makes masks from keys.
        """
        self.parameters, self.number = parameters, number
        self._identity, self._directory = identity, directory
        self._random_bytes, self._make_stream = random_bytes, make_stream
        self._share_key = X25519PrivateKey.from_private_bytes(random_bytes(32))
        self._mask_secret = random_bytes(shamir.SECRET_BYTES)
        self._mask_key = X25519PrivateKey.from_private_bytes(self._mask_secret)
        self._seed = random_bytes(shamir.SECRET_BYTES)
        self._neighbourhood = parameters.neighbourhood(number)
        self._awaits: Optional[Kind] = None
        self._begun = False
        # Of each neighbour: its keys, and its shares (mask key, seed).
        self._public: dict[int, tuple[bytes, bytes]] = {}
        self._held: dict[int, tuple[bytes, bytes]] = {}
        self._survivors: frozenset[int] = frozenset()
        self._confirmed = b""

    def advertise(self) -> bytes:
        """Returns the message with the public keys of this sum.

        Raises:
          OutOfOrderError: If it was called before.
        """
        if self._begun:
            raise OutOfOrderError("A client's keys are for one sum.")
        self._begun, self._awaits = True, Kind.ROSTER
        body = [
            keys.public_bytes(self._share_key),
            keys.public_bytes(self._mask_key),
            self.parameters.digest,
        ]
        return self._write(Kind.KEYS, *body)

    def share_keys(self, roster: bytes) -> bytes:
        """Shares the secrets among the neighbours that came.

        Args:
          roster: The server's message with the neighbours' keys.

        Returns:
          The message with a sealed share for each of them.

        Raises:
          SecureSumError: If the message is refused.
        """
        message = self._read(roster, Kind.ROSTER)
        size = messages.signed_size(KEYS_BYTES)
        with Reader(message.body) as reader:
            records = reader.records(size)
        for client, raw in records.items():
            if client not in self._neighbourhood or client == self.number:
                raise UnfairRequestError("A roster names who is no neighbour.")
            self._public[client] = self._public_keys(client, raw)
        self._check_count(len(records) + 1)
        everyones = [key for pair in self._public.values() for key in pair]
        if len(set(everyones)) < len(everyones):
            raise ForgedMessageError("Two clients have the same key.")
        holders = [self.number, *sorted(self._public)]
        shares = shamir.share(
            [self._mask_secret, self._seed],
            [holder + 1 for holder in holders],
            self.parameters.threshold,
            self._random_bytes,
        ).astype("<u2")
        mine, *others = (
            (share[0].tobytes(), share[1].tobytes()) for share in shares
        )
        self._held[self.number] = mine
        sealed = {
            client: keys.seal(
                self._sealing_key(self.number, client),
                b"".join(share),
                self.parameters.digest,
            )
            for client, share in zip(holders[1:], others)
        }
        self._awaits = Kind.DELIVERY
        return self._write(Kind.SHARES, messages.records(sealed))

    def mask(self, delivery: bytes, vector: Sequence[Array]) -> bytes:
        """Masks the client's vector.

        Args:
          delivery: The server's message with the shares of the neighbours.
          vector: Arrays of integers as the layout has them, which are taken
            modulo their modulus.

        Returns:
          The message with the masked vector: each of its numbers is uniform on
          all values of the modulus.

        Raises:
          SecureSumError: If the message is refused.
        """
        message = self._read(delivery, Kind.DELIVERY)
        with Reader(message.body) as reader:
            records = reader.records(SEALED_BYTES)
        if not set(records) <= set(self._public):
            raise UnfairRequestError("Shares came from who was not announced.")
        self._check_count(len(records) + 1)
        for client, sealed in records.items():
            shares = keys.unseal(
                self._sealing_key(client, self.number),
                sealed,
                self.parameters.digest,
            )
            half = shamir.SHARE_BYTES
            self._held[client] = shares[:half], shares[half:]
        masked = layout.copied(self.parameters.layout, vector)
        self._add_masks(masked, records)
        self._awaits = Kind.SURVIVORS
        return self._write(
            Kind.MASKED, *layout.to_bytes(self.parameters.layout, masked)
        )

    def confirm(self, survivors: bytes) -> bytes:
        """Signs the list of the clients whose vectors are in the sum.

        A client that signs one list signs no other, and reveals only what goes
        with a list that `threshold` of its neighbourhood have signed.

        Args:
          survivors: The server's message with the list.

        Raises:
          SecureSumError: If the message is refused.
        """
        message = self._read(survivors, Kind.SURVIVORS)
        everyone = messages.read_list(message.body, self.parameters.num_clients)
        near = everyone & frozenset(self._neighbourhood)
        if self.number not in near or not near <= set(self._held):
            raise UnfairRequestError(
                "A list of survivors leaves out this client, or has one that "
                "sent it no shares."
            )
        self._check_count(len(near))
        self._survivors = near
        self._confirmed = hashlib.sha256(message.body).digest()
        self._awaits = Kind.REQUEST
        return self._write(Kind.CONFIRMATION, self._confirmed)

    def unmask(self, request: bytes) -> bytes:
        """Reveals shares: of survivors' seeds, and of dropped clients' keys.

        Both secrets of one client would give its vector away, so it answers
        once, and never with shares of both.

        Args:
          request: The server's message: survivors, dropped clients, and the
            neighbours' signatures on the list of survivors.

        Raises:
          SecureSumError: If the message is refused.
        """
        message = self._read(request, Kind.REQUEST)
        with Reader(message.body) as reader:
            survivors, dropped = reader.numbers(), reader.numbers()
            signed = reader.records(messages.signed_size(DIGEST_BYTES))
        if len({*survivors, *dropped}) < len(survivors) + len(dropped):
            raise UnfairRequestError(
                "A request names a client twice; both of its secrets would "
                "give its vector away."
            )
        if set(survivors) != self._survivors:
            raise UnfairRequestError(
                "A request names other survivors than the list that was signed."
            )
        if set(dropped) != set(self._held) - self._survivors:
            raise UnfairRequestError(
                "A request names other clients as dropped than those that are "
                "missing in the signed list."
            )
        for client, raw in signed.items():
            self._check_confirmation(client, raw)
        if len({*signed, self.number}) < self.parameters.threshold:
            raise UnfairRequestError(
                f"Only {len({*signed, self.number})} clients of a neighbourhood"
                " have signed the list of survivors, fewer than the threshold "
                f"of {self.parameters.threshold}."
            )
        return self._write(
            Kind.UNMASKING,
            messages.records({c: self._held[c][1] for c in survivors}),
            messages.records({c: self._held[c][0] for c in dropped}),
        )

    def _read(self, raw: bytes, kind: Kind) -> Message:
        """Reads a message of the server; from then on none is awaited."""
        if self._awaits != kind:
            raise OutOfOrderError(
                f"A message of the kind {kind.name} came to a client that "
                f"awaits {self._awaits.name if self._awaits else 'none'}."
            )
        message = messages.read(self.parameters, raw, kind, self.number)
        self._awaits = None
        return message

    def _write(self, kind: Kind, *body: "bytes | memoryview") -> bytes:
        return messages.write(
            self.parameters, kind, self.number, SERVER, body, self._identity
        )

    def _public_keys(self, client: int, raw: bytes) -> tuple[bytes, bytes]:
        """Reads the keys that a neighbour has signed."""
        message = messages.read(
            self.parameters, raw, Kind.KEYS, SERVER, self._directory.__getitem__
        )
        if message.sender != client:
            raise ForgedMessageError("A client's keys stand under another.")
        with Reader(message.body) as reader:
            pair = reader.take(32), reader.take(32)
            digest = reader.take(DIGEST_BYTES)
        if digest != self.parameters.digest:
            raise UnfairRequestError(
                "The server gave a neighbour other parameters of the sum."
            )
        return pair

    def _sealing_key(self, sender: int, receiver: int) -> bytes:
        """Derives the key that seals shares from one client for another."""
        other = receiver if sender == self.number else sender
        secret = keys.agree(self._share_key, self._public[other][0])
        return keys.derive(self.parameters, secret, "shares", sender, receiver)

    def _add_masks(
        self, vector: Sequence[Array], others: Iterable[int]
    ) -> None:
        """Adds the client's own mask and its part of each pair's mask."""
        own = keys.own_mask_key(self.parameters, self._seed, self.number)
        masks.add(vector, self._make_stream(own))
        for other in others:
            key = keys.pair_mask_key(
                self.parameters,
                self._mask_key,
                self._public[other][1],
                self.number,
                other,
            )
            # The other does the opposite, so that the two cancel in the sum.
            apply = masks.add if self.number < other else masks.subtract
            apply(vector, self._make_stream(key))
        for segment, numbers in zip(self.parameters.layout, vector):
            segment.reduce(numbers)

    def _check_confirmation(self, client: int, raw: bytes) -> None:
        """Checks that a surviving neighbour has signed the same list."""
        message = messages.read(
            self.parameters,
            raw,
            Kind.CONFIRMATION,
            SERVER,
            self._directory.__getitem__,
        )
        if message.sender != client or client not in self._survivors:
            raise ForgedMessageError(
                "A confirmation is of who is no surviving neighbour."
            )
        if bytes(message.body) != self._confirmed:
            raise UnfairRequestError(
                "The server showed a neighbour another list of survivors."
            )

    def _check_count(self, count: int) -> None:
        """Checks that enough of the neighbourhood are left."""
        if count < self.parameters.threshold:
            raise TooFewClientsError(
                f"{count} clients of a neighbourhood are left, fewer than the "
                f"threshold of {self.parameters.threshold}."
            )
