"""Adds vectors of integers under encryption: CKKS, by TenSEAL.

Cheon, Kim, Kim, Song 2017, "Homomorphic Encryption for Arithmetic of
Approximate Numbers". Three parties exchange bytes and nothing else: clients
encrypt with the public context, the server adds ciphertexts and can read none,
and the key holder decrypts the sum. **Any holder of the secret key who gets
hold of a client's ciphertext reads that client**, and CKKS hides nothing of the
sum itself: the key holder must be someone who does not see single messages, and
what it decrypts must not travel further than the sum's rounded integers (Li and
Micciancio 2021: the unrounded result gives away the secret key).

Ring degree 8192 with a modulus of 160 bits has more than 128 bits of security
(Albrecht et al. 2018, table 1: up to 218). CKKS is approximate; what is added
here are integers, which rounding gives back exactly while no sum is above
2^46 (its error is then below 0.1).

>>> holder = KeyHolder()
>>> client = Client(holder.public_context)
>>> server = Server(holder.public_context)
>>> messages = [client.encrypt(np.array(v)) for v in ([1, -5], [2, 3])]
>>> holder.decrypt(server.add(*messages)).tolist()
[3, -2]
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]

_DEGREE = 8192
_MODULUS_BITS = (60, 40, 60)
_SCALE = 2.0**40
# As many numbers as one ciphertext holds.
SLOTS = _DEGREE // 2
# Larger sums are not sure to be exact.
LARGEST_SUM = 2.0**46
# Begins a message: a name and version, then the count of numbers.
_HEAD = struct.Struct("<8sQ")
_MAGIC = b"ckks-v1\0"
_SIZE = struct.Struct("<I")


def library() -> Any:
    """Imports TenSEAL.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        import tenseal
    except ModuleNotFoundError:
        raise errors.ConfigError(
            "--aggregator=he_mean needs TenSEAL; install tff-pipeline[he]."
        ) from None
    return tenseal


class KeyHolder:
    """Draws a pair of keys and decrypts sums; the secret key stays here.

    The keys are drawn anew by the operating system's generator; they are
    written nowhere.

    Attributes:
      public_context: What clients and the server need, in TenSEAL's own
        format: parameters and public key, neither the secret key nor keys for
        products and rotations.
    """

    def __init__(self) -> None:
        """Draws the keys.

        Raises:
          ConfigError: If TenSEAL is not installed.
        """
        self._tenseal = library()
        self._context = self._tenseal.context(
            self._tenseal.SCHEME_TYPE.CKKS,
            _DEGREE,
            coeff_mod_bit_sizes=list(_MODULUS_BITS),
        )
        self._context.global_scale = _SCALE
        self.public_context: bytes = self._context.serialize(
            save_public_key=True,
            save_secret_key=False,
            save_galois_keys=False,
            save_relin_keys=False,
        )

    def decrypt(self, message: bytes) -> Array:
        """Decrypts a sum.

        Args:
          message: A message of this pair of keys, or a sum of such.

        Returns:
          int64 [n], exact while no number is above `LARGEST_SUM`.

        Raises:
          DataError: If it is no message, or one of other keys.
        """
        chunks = _read(self._tenseal, self._context, message)
        numbers = np.array([x for chunk in chunks for x in chunk.decrypt()])
        # Of other keys come numbers near the modulus.
        if not np.all(np.abs(numbers) < 2.0**62):
            raise errors.DataError(
                "A ciphertext cannot be decrypted by this key: it was encrypted"
                " by another one."
            )
        return np.rint(numbers).astype(np.int64)


class Client:
    """Encrypts vectors with the public context."""

    def __init__(self, public_context: bytes):
        """Reads the public context.

        Args:
          public_context: From the key holder.

        Raises:
          ConfigError: If TenSEAL is not installed.
        """
        self._tenseal = library()
        self._context = self._tenseal.context_from(public_context)

    def encrypt(self, vector: Array) -> bytes:
        """Encrypts a vector, in pieces of 4,096 numbers.

        Args:
          vector: Whole numbers [n], of any dtype, n at least 1.

        Returns:
          About 57 bytes a number, other ones each time.
        """
        parts = [_HEAD.pack(_MAGIC, len(vector))]
        for start in range(0, len(vector), SLOTS):
            piece = np.asarray(vector[start : start + SLOTS], np.float64)
            # TenSEAL's own tensor is read far faster than a list.
            plain = self._tenseal.plain_tensor(piece, [len(piece)])
            chunk = self._tenseal.ckks_vector(self._context, plain).serialize()
            parts += [_SIZE.pack(len(chunk)), chunk]
        return b"".join(parts)


class Server:
    """Adds ciphertexts; it has the public context and can decrypt none."""

    def __init__(self, public_context: bytes):
        """Reads the public context.

        Args:
          public_context: From the key holder.

        Raises:
          ConfigError: If TenSEAL is not installed.
        """
        self._tenseal = library()
        self._context = self._tenseal.context_from(public_context)

    def add(self, one: bytes, other: bytes) -> bytes:
        """Adds two messages.

        Args:
          one: A message of a client, a sum of such, or empty bytes, which add
            nothing.
          other: The like, of as many numbers.

        Returns:
          A message of the sum.

        Raises:
          DataError: If one is no message, or they have not as many numbers.
        """
        if not one or not other:
            return one or other
        if one[: _HEAD.size] != other[: _HEAD.size]:
            raise errors.DataError(
                "Two encrypted vectors have not as many numbers, or are not "
                "encrypted alike; all clients must train the same model."
            )
        parts = [one[: _HEAD.size]]
        for mine, theirs in zip(
            _read(self._tenseal, self._context, one),
            _read(self._tenseal, self._context, other),
        ):
            chunk = mine.add(theirs).serialize()
            parts += [_SIZE.pack(len(chunk)), chunk]
        return b"".join(parts)


def _read(tenseal: Any, context: Any, message: bytes) -> list[Any]:
    """Reads the ciphertexts of a message.

    Raises:
      DataError: If it is none, or a part of one.
    """
    broken = errors.DataError(
        "A message is no encrypted vector of tff_pipeline's he_mean, or only a "
        "part of one."
    )
    if len(message) < _HEAD.size:
        raise broken
    magic, count = _HEAD.unpack_from(message)
    if magic != _MAGIC:
        raise broken
    chunks, place, left = [], _HEAD.size, count
    while left:
        if len(message) < place + _SIZE.size:
            raise broken
        (size,) = _SIZE.unpack_from(message, place)
        place += _SIZE.size
        try:
            # It fails on fewer bytes than it was written with.
            chunk = tenseal.ckks_vector_from(
                context, message[place : place + size]
            )
        except (ValueError, RuntimeError):
            raise broken from None
        place += size
        if chunk.size() != min(SLOTS, left):
            raise broken
        left -= chunk.size()
        chunks.append(chunk)
    if place != len(message):
        raise broken
    return chunks
