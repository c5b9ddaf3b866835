"""Packs the numbers of a masked vector into bytes, without a bit to spare.

A number of b bits is cut into pieces, from its lowest bits on: of 64, 32, 16
and 8 bits, as far as these fit into b, and a rest of fewer than 8. First stand
the first pieces of all numbers, little-endian, then the second ones, and so on;
last the rests, one after the other from the lowest bit of a byte on. Whole
pieces are copied, not shifted bit by bit, so that a million numbers take some
milliseconds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Of unsigned integers.
Array = npt.NDArray[Any]
_WORDS = (64, 32, 16, 8)
# Eight rests of fewer than eight bits each fit into one word of 64 bits.
_GROUP = 8


def num_bytes(count: int, bits: int) -> int:
    """Returns the number of bytes that `pack` makes.

    >>> num_bytes(1000, 27), num_bytes(3, 1)
    (3375, 1)

    Args:
      count: The number of numbers.
      bits: The bits of each, 1 to 64.
    """
    whole, rest = divmod(bits, 8)
    return count * whole + (count * rest + 7) // 8


def pack(numbers: Array, bits: int) -> list[memoryview]:
    """Packs numbers.

    >>> [list(piece) for piece in pack(np.array([1023, 2], np.uint16), 10)]
    [[255, 2], [3]]

    Args:
      numbers: Unsigned integers [n], each below 2**bits.
      bits: The bits of each, 1 to 64.

    Returns:
      The bytes, `num_bytes` in all, in pieces; bits that are left over are 0.
    """
    if not numbers.size:
        return []
    pieces, place = [], 0
    for word in _words(bits):
        piece = numbers >> _like(numbers, place) if place else numbers
        pieces.append(piece.astype(f"<u{word // 8}", copy=False))
        place += word
    if place < bits:
        rests = (numbers >> _like(numbers, place)).astype(np.uint8)
        pieces.append(_packed(rests, bits - place))
    return [piece.data.cast("B") for piece in pieces]


def unpack(content: memoryview, count: int, bits: int, dtype: Any) -> Array:
    """Undoes `pack`.

    >>> unpack(memoryview(bytes([255, 2, 3])), 2, 10, np.uint16).tolist()
    [1023, 2]

    Args:
      content: The bytes, `num_bytes` in all.
      count: The number of numbers.
      bits: The bits of each, 1 to 64.
      dtype: A type of unsigned integers that holds them.

    Returns:
      The numbers [count], maybe read-only.

    Raises:
      ValueError: If bits that are left over are not 0.
    """
    start = place = 0
    total: Any = None
    for word in _words(bits):
        piece = np.frombuffer(content, f"<u{word // 8}", count, offset=start)
        total = _joined(total, piece, place, dtype)
        start, place = start + piece.nbytes, place + word
    if place < bits:
        packed = np.frombuffer(content, np.uint8, offset=start)
        rests = _unpacked(packed, count, bits - place)
        total = _joined(total, rests, place, dtype)
    result: Array = total
    return result


def _words(bits: int) -> Sequence[int]:
    """Lists the sizes of a number's whole pieces, in bits."""
    return [word for word in _WORDS if bits & word]


def _like(numbers: Array, value: int) -> Any:
    """Returns a number in the type of others, which it does not widen."""
    return numbers.dtype.type(value)


def _joined(total: Any, piece: Array, place: int, dtype: Any) -> Array:
    """Adds the pieces that stand from bit number `place` on."""
    if total is None:
        return piece.astype(dtype, copy=False)
    shifted = piece.astype(dtype)
    shifted <<= _like(shifted, place)
    return np.bitwise_or(shifted, total, out=shifted)


def _packed(rests: Array, bits: int) -> Array:
    """Packs uint8 [n], each below 2**bits, into uint8 [n * bits / 8]."""
    size = rests.size
    groups = np.zeros(-(-size // _GROUP) * _GROUP, np.uint8)
    groups[:size] = rests
    words = groups.view("<u8")
    # Two neighbours close up to one, then two of those, then two of those.
    width = 8
    for length in (bits, 2 * bits, 4 * bits):
        low = np.uint64(_every(2 * width, length))
        words = (words & low) | (
            (words >> np.uint64(width - length))
            & ~low
            & np.uint64(_every(2 * width, 2 * length))
        )
        width *= 2
    octets = words.astype("<u8", copy=False).view(np.uint8)
    rows = octets.reshape(-1, _GROUP)[:, :bits]
    return np.ascontiguousarray(rows).reshape(-1)[: (size * bits + 7) // 8]


def _unpacked(packed: Array, count: int, bits: int) -> Array:
    """Undoes `_packed`."""
    groups = -(-count // _GROUP)
    octets = np.zeros([groups, _GROUP], np.uint8)
    padded = np.zeros(groups * bits, np.uint8)
    padded[: packed.size] = packed
    octets[:, :bits] = padded.reshape(groups, bits)
    words = octets.view("<u8").reshape(-1)
    width = 64
    for length in (4 * bits, 2 * bits, bits):
        low = np.uint64(_every(width, length))
        words = (words & low) | (
            (words & ~low) << np.uint64(width // 2 - length)
        )
        width //= 2
    rests = words.astype("<u8", copy=False).view(np.uint8)
    if rests[count:].any():
        raise ValueError("Bits that are left over are not 0.")
    return rests[:count]


def _every(width: int, length: int) -> int:
    """Returns a word of 64 bits whose lowest `length` of every `width` are 1.

    >>> hex(_every(16, 3))
    '0x7000700070007'
    """
    return sum(((1 << length) - 1) << at for at in range(0, 64, width))
