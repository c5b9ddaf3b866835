"""The form of a vector that is summed: segments of whole numbers.

Each segment has a modulus of its own, a power of two, so that sums of several
kinds (updates, weights, counts) are taken by one run of the protocol. In memory
a number is a word of 8 to 64 bits; on the way it takes the bits of its modulus.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.secure_sum import packing
from tff_pipeline.secure_sum.refusals import (
    MalformedMessageError,
    ModulusError,
)

# Of unsigned integers.
Array = npt.NDArray[Any]
# The numbers of a segment are held in the shortest of these words.
_SIZES = (8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Segment:
    """Numbers of one modulus.

    Example:
      >>> segment = Segment(length=3, bits=20)
      >>> segment.dtype, segment.num_bytes
      (dtype('uint32'), 8)

    Attributes:
      length: How many numbers there are.
      bits: The binary logarithm of the modulus, 1 to 64.
    """

    length: int
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= _SIZES[-1]:
            raise ModulusError(
                f"A secure sum would need a modulus of {self.bits} bits; at "
                f"most {_SIZES[-1]} can be had: bound the values more tightly."
            )

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Type of the numbers in memory, little-endian."""
        size = next(size for size in _SIZES if self.bits <= size)
        return np.dtype(f"<u{size // 8}")

    @property
    def num_bytes(self) -> int:
        """Size of the segment in a message, of `bits` bits a number."""
        return packing.num_bytes(self.length, self.bits)

    def reduce(self, numbers: Array) -> None:
        """Takes numbers modulo the segment's modulus, in place.

        Args:
          numbers: An array of the segment's dtype.
        """
        if self.bits < 8 * self.dtype.itemsize:
            mask = self.dtype.type((1 << self.bits) - 1)
            np.bitwise_and(numbers, mask, out=numbers)


Layout = tuple[Segment, ...]


def bits_of_sum(num_clients: int, largest: int) -> int:
    """Returns the bits that hold a sum without wrapping around.

    The modulus is more than clients times range, so that the sum is exact.

    Args:
      num_clients: How many clients there are.
      largest: The largest number that a client may send.

    Example:
      >>> bits_of_sum(100, 2**20 - 1)
      27
    """
    return max(1, (num_clients * largest).bit_length())


def zeros(layout: Layout) -> list[Array]:
    """Makes a vector of zeros.

    Args:
      layout: The vector's form.
    """
    return [np.zeros(each.length, each.dtype) for each in layout]


def copied(layout: Layout, vector: Sequence[Array]) -> list[Array]:
    """Copies a vector of whole numbers, each taken modulo its modulus.

    Args:
      layout: The vector's form.
      vector: An array of integers for each segment, [length].

    Raises:
      ValueError: If the arrays are not of that form.
    """
    shapes = [np.shape(each) for each in vector]
    if shapes != [(each.length,) for each in layout]:
        raise ValueError(f"The vector has shapes {shapes}, not {layout}.")
    result = []
    for segment, numbers in zip(layout, vector):
        # Modulo 2^(8 size), as C does it, also for negative numbers.
        own = np.array(numbers).astype(segment.dtype)
        segment.reduce(own)
        result.append(own)
    return result


def to_bytes(layout: Layout, vector: Sequence[Array]) -> list[memoryview]:
    """Packs a vector, segment by segment.

    Args:
      layout: The vector's form.
      vector: Arrays of the layout's dtypes, of numbers below their moduli.

    Returns:
      The bytes in pieces, some of which share the memory of `vector`.
    """
    return [
        piece
        for segment, numbers in zip(layout, vector)
        for piece in packing.pack(numbers, segment.bits)
    ]


def from_bytes(layout: Layout, content: memoryview) -> list[Array]:
    """Reads a vector.

    Args:
      layout: The vector's form.
      content: Its bytes.

    Returns:
      Arrays of the layout's dtypes; some are read-only and share the memory of
      `content`.

    Raises:
      MalformedMessageError: If there are more or fewer bytes, or bits that are
        left over at a segment's end are not 0.
    """
    expected = num_bytes(layout)
    if len(content) != expected:
        raise MalformedMessageError(
            f"A masked vector has {len(content)} bytes, not {expected}."
        )
    vector, start = [], 0
    for segment in layout:
        end = start + segment.num_bytes
        try:
            numbers = packing.unpack(
                content[start:end], segment.length, segment.bits, segment.dtype
            )
        except ValueError as error:
            raise MalformedMessageError(
                f"A masked vector is not packed as it must be: {error}"
            ) from None
        start = end
        vector.append(numbers)
    return vector


def num_bytes(layout: Layout) -> int:
    """Returns the size of a vector in a message.

    Args:
      layout: The vector's form.

    Example:
      >>> num_bytes((Segment(10, 27), Segment(1, 9)))
      36
    """
    return sum(segment.num_bytes for segment in layout)
