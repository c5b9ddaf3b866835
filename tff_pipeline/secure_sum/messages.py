"""The binary format of all messages, version 1.

All numbers are big-endian, but those of masked vectors. A message is

    "TFSS", version (1 byte), kind (1), session (16), round (8), sender (4),
    receiver (4), length of the body (8), body, signature (64)

where only clients sign: what the server sends is made of messages that clients
have signed or sealed, and what it adds, clients check. The server's number is
2^32 - 1.
"""

import dataclasses
import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Optional

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tff_pipeline.secure_sum import keys
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.refusals import (
    ForgedMessageError,
    MalformedMessageError,
    OutOfOrderError,
    ReplayedMessageError,
)

SERVER = 2**32 - 1
_MAGIC, _VERSION = b"TFSS", 1
_HEADER = struct.Struct(">4sBB16sQIIQ")


class Kind(enum.IntEnum):
    """Kinds of messages, in the order of the protocol.

    Odd kinds are of clients, and even ones the server's answers.
    """

    KEYS = 1
    ROSTER = 2
    SHARES = 3
    DELIVERY = 4
    MASKED = 5
    SURVIVORS = 6
    CONFIRMATION = 7
    REQUEST = 8
    UNMASKING = 9


@dataclasses.dataclass(frozen=True)
class Message:
    """A message that has been checked.

    Attributes:
      kind: Its kind.
      sender: The number of the sender.
      receiver: The number of the receiver.
      body: Its content.
      raw: The whole message, to be passed on.
    """

    kind: Kind
    sender: int
    receiver: int
    body: memoryview
    raw: bytes


def write(
    parameters: Parameters,
    kind: Kind,
    sender: int,
    receiver: int,
    body: Sequence["bytes | memoryview"],
    identity: Optional[Ed25519PrivateKey] = None,
) -> bytes:
    """Writes a message.

    Args:
      parameters: The sum's, whose session and round it names.
      kind: Its kind.
      sender: The sender's number.
      receiver: The receiver's number.
      body: Its content, in pieces.
      identity: The key that signs it; `None` for the server's messages.
    """
    length = sum(map(len, body))
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        kind,
        parameters.session,
        parameters.round_number,
        sender,
        receiver,
        length,
    )
    parts = [header, *body]
    if identity is not None:
        parts.append(keys.sign(identity, *parts))
    return b"".join(parts)


def read(
    parameters: Parameters,
    raw: bytes,
    kind: Kind,
    receiver: int,
    identity_of: Optional[Callable[[int], bytes]] = None,
) -> Message:
    """Reads and checks a message.

    Args:
      parameters: The sum's, whose session and round it must name.
      raw: The message.
      kind: The kind that is awaited.
      receiver: The number of who reads it.
      identity_of: Returns the public key of a client from its number, for
        messages of clients; `None` for the server's.

    Raises:
      MalformedMessageError: If it is of no known format, cut short or too long.
      ReplayedMessageError: If it is of another session or round.
      OutOfOrderError: If it is of another kind.
      ForgedMessageError: If it is for somebody else, or its sender has not
        signed it.
    """
    signed = identity_of is not None
    tail = keys.SIGNATURE_BYTES if signed else 0
    if len(raw) < _HEADER.size + tail:
        raise MalformedMessageError(
            f"A message is cut short: it has {len(raw)} bytes."
        )
    magic, version, number, session, round_number, sender, to, length = (
        _HEADER.unpack_from(raw)
    )
    if magic != _MAGIC or version != _VERSION or number not in set(Kind):
        raise MalformedMessageError(
            "A message is not of version 1 of the format of secure sums."
        )
    if (session, round_number) != (parameters.session, parameters.round_number):
        raise ReplayedMessageError(
            f"A message is of round {round_number} of a session, not of round "
            f"{parameters.round_number} of this one."
        )
    if number != kind:
        raise OutOfOrderError(
            f"A message of the kind {Kind(number).name} came where "
            f"{kind.name} is awaited."
        )
    if len(raw) != _HEADER.size + length + tail:
        raise MalformedMessageError(
            f"A message has {len(raw)} bytes, not "
            f"{_HEADER.size + length + tail}."
        )
    if to != receiver or (sender == SERVER) == signed:
        raise ForgedMessageError(
            "A message is not from whom it should be, or for somebody else."
        )
    view = memoryview(raw)
    content = view[: _HEADER.size + length]
    if identity_of is not None:
        if not 0 <= sender < parameters.num_clients:
            raise ForgedMessageError("A message is of no client of the sum.")
        keys.verify(identity_of(sender), bytes(view[len(content) :]), content)
    return Message(Kind(number), sender, to, content[_HEADER.size :], raw)


def signed_size(length: int) -> int:
    """Returns the size of a client's message.

    Args:
      length: The size of its body.
    """
    return _HEADER.size + length + keys.SIGNATURE_BYTES


class Reader:
    """Reads the parts of a body; all must have been read when it is done.

    As a context manager: `with Reader(body) as reader: ...`.

    Raises:
      MalformedMessageError: On reading more than there is, or leaving less.
    """

    def __init__(self, body: memoryview):
        """Starts at the beginning.

        Args:
          body: The body of a message.
        """
        self._body, self._place = body, 0

    def take(self, count: int) -> bytes:
        """Returns the next `count` bytes."""
        part = self._body[self._place : self._place + count]
        if len(part) != count:
            raise MalformedMessageError("The body of a message is cut short.")
        self._place += count
        return bytes(part)

    def number(self) -> int:
        """Returns the next number, of 4 bytes."""
        return int.from_bytes(self.take(4), "big")

    def numbers(self) -> list[int]:
        """Returns a list of numbers, after their count."""
        return [self.number() for _ in range(self.number())]

    def records(self, size: int) -> dict[int, bytes]:
        """Returns records of `size` bytes by clients' numbers.

        Raises:
          MalformedMessageError: If a number comes twice.
        """
        found: dict[int, bytes] = {}
        for _ in range(self.number()):
            client = self.number()
            if client in found:
                raise MalformedMessageError("A message names a client twice.")
            found[client] = self.take(size)
        return found

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, kind: Optional[type], *_: object) -> None:
        if kind is None and self._place != len(self._body):
            raise MalformedMessageError("The body of a message is too long.")


def numbers(values: Iterable[int]) -> bytes:
    """Writes what `Reader.numbers` reads.

    Args:
      values: Numbers below 2^32.
    """
    values = list(values)
    return struct.pack(f">{len(values) + 1}I", len(values), *values)


def records(values: "dict[int, bytes]") -> bytes:
    """Writes what `Reader.records` reads.

    Args:
      values: Records of the same size, by clients' numbers.
    """
    parts = [len(values).to_bytes(4, "big")]
    for client, record in values.items():
        parts += [client.to_bytes(4, "big"), record]
    return b"".join(parts)


def read_list(bitmap: memoryview, num_clients: int) -> frozenset[int]:
    """Reads a list of clients, one bit a client, the first one highest.

    Args:
      bitmap: What `write_list` wrote.
      num_clients: How many clients there are.

    Raises:
      MalformedMessageError: If it is of another length, or names no client.
    """
    if len(bitmap) != (num_clients + 7) // 8:
        raise MalformedMessageError("A list of survivors has a wrong length.")
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8))
    if bits[num_clients:].any():
        raise MalformedMessageError("A list of survivors names no client.")
    return frozenset(np.flatnonzero(bits).tolist())


def write_list(clients: Iterable[int], num_clients: int) -> bytes:
    """Writes what `read_list` reads.

    Args:
      clients: The numbers of the clients.
      num_clients: How many clients there are.

    >>> sorted(read_list(memoryview(write_list([0, 9], 10)), 10))
    [0, 9]
    """
    bits = np.zeros(num_clients, np.uint8)
    bits[sorted(clients)] = 1
    return np.packbits(bits).tobytes()
