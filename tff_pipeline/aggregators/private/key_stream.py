"""Gives random bits that nobody can tell from coin flips without the key.

AES-256 in counter mode, of the library `cryptography`: the generator of NIST SP
800-90A without its ceremony. Its key is derived from the run's secret and from
what the bits are for, by HMAC-SHA256.
"""

import hashlib
import hmac
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]


def library() -> Any:
    """Imports the ciphers of `cryptography`.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        from cryptography.hazmat.primitives import ciphers
    except ModuleNotFoundError:
        raise errors.ConfigError(
            "--dp_secure_noise needs the package cryptography; install "
            "tff-pipeline[secure_sum]."
        ) from None
    return ciphers


def derived(secret: bytes, *purposes: bytes) -> bytes:
    """Derives a key that gives away neither the secret nor other keys.

    >>> derived(b"s", b"a", b"b") == derived(b"s", b"ab")
    False

    Args:
      secret: At least 16 bytes that nobody knows.
      *purposes: What the key is for; other purposes have other keys.

    Returns:
      32 bytes.
    """
    lengths = b"".join(len(p).to_bytes(8, "big") for p in purposes)
    message = lengths + b"".join(purposes)
    return hmac.new(secret, message, hashlib.sha256).digest()


class KeyStream:
    """The stream of random bits of one key, read from its start."""

    def __init__(self, key: bytes):
        """Begins the stream.

        Args:
          key: 32 bytes, used for no other stream.

        Raises:
          ConfigError: If `cryptography` is not installed.
        """
        ciphers = library()
        cipher = ciphers.Cipher(
            ciphers.algorithms.AES(key), ciphers.modes.CTR(bytes(16))
        )
        self._encryptor = cipher.encryptor()

    def words(self, count: int) -> Array:
        """Reads the next words.

        Args:
          count: The number of words.

        Returns:
          uint64 [count], of independent fair bits.
        """
        octets = self._encryptor.update(bytes(8 * count))
        return np.frombuffer(octets, "<u8")
