"""Masks: streams of numbers from a key, added to a vector or taken from it.

The numbers are uniform on all values of their modulus: a segment of b bits
takes the low b bits of words of the stream, and 2^b divides 2^(word size). The
stream is AES-128 in counter mode, as good as random to whoever has not all 128
bits of its key. (Flower 1.42 folds its keys to 32 bits and draws from 2^32 - 2
values; 2^32 trials then find any mask.)
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tff_pipeline.secure_sum.layout import Array

KEY_BYTES = 16
# Bytes of a stream that are made and added at once: they stay in the
# processor's cache, which makes it five times as fast as whole vectors.
_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


class Stream(Protocol):
    """Makes the bytes of one mask, in order."""

    def fill(self, buffer: bytearray, count: int) -> None:
        """Writes the next `count` bytes to the start of `buffer`."""


# From a key to the stream of its mask.
MakeStream = Callable[[bytes], Stream]


class AesCtr:
    """AES-128 in counter mode from a zero counter; each key is used once."""

    def __init__(self, key: bytes):
        """Starts the stream.

        Args:
          key: 16 bytes.
        """
        assert len(key) == KEY_BYTES
        cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16)))
        self._encryptor = cipher.encryptor()

    def fill(self, buffer: bytearray, count: int) -> None:
        """Writes the next `count` bytes to the start of `buffer`."""
        zeros = _ZEROS if count == _CHUNK else _ZEROS[:count]
        self._encryptor.update_into(zeros, buffer)


def add(vector: Sequence[Array], stream: Stream) -> None:
    """Adds a mask to a vector in place, modulo 2^(word size).

    Args:
      vector: Arrays of unsigned integers, one for each segment.
      stream: The mask's.
    """
    _apply(vector, stream, np.add)


def subtract(vector: Sequence[Array], stream: Stream) -> None:
    """Takes a mask from a vector in place, modulo 2^(word size).

    Args:
      vector: Arrays of unsigned integers, one for each segment.
      stream: The mask's.
    """
    _apply(vector, stream, np.subtract)


def _apply(vector: Sequence[Array], stream: Stream, ufunc: np.ufunc) -> None:
    # The cipher asks for room for one block more.
    buffer = bytearray(_CHUNK + 15)
    for numbers in vector:
        words = np.frombuffer(
            buffer, numbers.dtype, _CHUNK // numbers.dtype.itemsize
        )
        for start in range(0, numbers.size, words.size):
            part = numbers[start : start + words.size]
            stream.fill(buffer, part.nbytes)
            ufunc(part, words[: part.size], out=part)
