"""The form of a vector that is summed: segments of whole numbers.

Each segment has a modulus of its own, a power of two, so that sums of several
kinds (updates, weights, counts) are taken by one run of the protocol.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.secure_sum.refusals import (
    MalformedMessageError,
    ModulusError,
)

# Of unsigned integers.
Array = npt.NDArray[Any]
# The numbers of a segment are sent in the shortest of these that holds them.
_SIZES = (8, 16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Segment:
    """Numbers of one modulus.

    Example:
      >>> segment = Segment(length=3, bits=20)
      >>> segment.dtype, segment.num_bytes
      (dtype('uint32'), 12)

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
        """Type of the numbers in messages, little-endian."""
        size = next(size for size in _SIZES if self.bits <= size)
        return np.dtype(f"<u{size // 8}")

    @property
    def num_bytes(self) -> int:
        """Size of the segment in a message."""
        return self.length * self.dtype.itemsize

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


def to_bytes(vector: Sequence[Array]) -> list[memoryview]:
    """Returns a vector's bytes, segment by segment, without copying them.

    Args:
      vector: Arrays of the layout's dtypes.
    """
    # A view of no numbers has no bytes to be cast.
    return [numbers.data.cast("B") for numbers in vector if numbers.size]


def from_bytes(layout: Layout, content: memoryview) -> list[Array]:
    """Reads a vector.

    Args:
      layout: The vector's form.
      content: Its bytes.

    Returns:
      Read-only arrays, which share the memory of `content`.

    Raises:
      MalformedMessageError: If there are more or fewer bytes, or a number is
        not below its modulus.
    """
    expected = num_bytes(layout)
    if len(content) != expected:
        raise MalformedMessageError(
            f"A masked vector has {len(content)} bytes, not {expected}."
        )
    vector, start = [], 0
    for segment in layout:
        numbers = np.frombuffer(
            content, segment.dtype, segment.length, offset=start
        )
        start += segment.num_bytes
        if numbers.size and int(numbers.max()) >> segment.bits:
            raise MalformedMessageError(
                f"A masked number is not below 2^{segment.bits}."
            )
        vector.append(numbers)
    return vector


def num_bytes(layout: Layout) -> int:
    """Returns the size of a vector in a message.

    Args:
      layout: The vector's form.

    Example:
      >>> num_bytes((Segment(10, 32), Segment(1, 9)))
      42
    """
    return sum(segment.num_bytes for segment in layout)
