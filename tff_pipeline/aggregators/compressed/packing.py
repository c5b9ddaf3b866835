"""Packs numbers into bytes, in TensorFlow graphs, without a bit to spare.

All formats are little-endian, whatever the machine's own order would be: TFF
and TensorFlow 2.14 run on little-endian machines alone.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Eight codes of fewer than eight bits each fit into one int64.
_GROUP = 8


def num_packed(count: int, bits: int) -> int:
    """Returns the number of bytes that `pack` makes.

    >>> num_packed(5, 3)
    2

    Args:
      count: The number of codes.
      bits: The number of bits of each.
    """
    if bits > 8:
        return count + num_packed(count, bits - 8)
    return (count * bits + 7) // 8


def pack(codes: tf.Tensor, bits: int) -> tf.Tensor:
    """Packs whole numbers of a few bits each, one after the other.

    Of codes of more than 8 bits come first all lowest bytes, then what is left
    of each.

    >>> pack(tf.constant([1, 2, 7, 0, 5]), 3).numpy().tolist()
    [209, 81]

    Args:
      codes: int32 [n], each at least 0 and below 2**bits.
      bits: The number of bits of each, 0 to 31.

    Returns:
      uint8 [m], with m of `num_packed`; bits that are left over are 0.
    """
    if bits > 8:
        low = tf.cast(tf.bitwise.bitwise_and(codes, 255), tf.uint8)
        high = pack(tf.bitwise.right_shift(codes, 8), bits - 8)
        return tf.concat([low, high], axis=0)
    if bits == 8:
        return tf.cast(codes, tf.uint8)
    count = tf.size(codes)
    codes = tf.pad(codes, [[0, -count % _GROUP]])
    groups = tf.cast(tf.reshape(codes, [-1, _GROUP]), tf.int64)
    shifts = tf.constant(np.arange(_GROUP) * bits, tf.int64)
    words = tf.reduce_sum(tf.bitwise.left_shift(groups, shifts), axis=1)
    packed = tf.reshape(tf.bitcast(words, tf.uint8)[:, :bits], [-1])
    return packed[: (count * bits + 7) // 8]


def unpack(data: tf.Tensor, count: int, bits: int) -> tf.Tensor:
    """Undoes `pack`.

    >>> unpack(tf.constant([209, 81], tf.uint8), 5, 3).numpy().tolist()
    [1, 2, 7, 0, 5]

    Args:
      data: uint8 [m], as `pack` made them.
      count: The number of codes.
      bits: The number of bits of each.

    Returns:
      int32 [count].
    """
    if bits > 8:
        low = tf.cast(data[:count], tf.int32)
        high = unpack(data[count:], count, bits - 8)
        return tf.bitwise.bitwise_or(low, tf.bitwise.left_shift(high, 8))
    if bits == 8:
        return tf.cast(data, tf.int32)
    if not bits:
        return tf.zeros([count], tf.int32)
    data = tf.pad(data, [[0, -tf.size(data) % bits]])
    data = tf.reshape(data, [-1, bits])
    words = tf.bitcast(tf.pad(data, [[0, 0], [0, 8 - bits]]), tf.int64)
    shifts = tf.constant(np.arange(_GROUP) * bits, tf.int64)
    groups = tf.bitwise.right_shift(words[:, tf.newaxis], shifts)
    codes = tf.bitwise.bitwise_and(groups, 2**bits - 1)
    return tf.cast(tf.reshape(codes, [-1])[:count], tf.int32)


def to_bytes(values: tf.Tensor) -> tf.Tensor:
    """Returns numbers as the bytes of their dtype.

    Args:
      values: A tensor of float32, int64 or another dtype of whole bytes.

    Returns:
      uint8 [size of the dtype times the number of values].
    """
    return tf.reshape(tf.bitcast(values, tf.uint8), [-1])


def from_bytes(
    data: tf.Tensor, dtype: tf.DType, shape: Sequence[int] = ()
) -> tf.Tensor:
    """Undoes `to_bytes`.

    Args:
      data: uint8 [n].
      dtype: The dtype of the numbers.
      shape: The shape of the numbers.
    """
    return tf.bitcast(tf.reshape(data, [*shape, dtype.size]), dtype)


def split(data: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    """Cuts a payload into its parts.

    Args:
      data: uint8 [n].
      sizes: The number of bytes of each part but the last, which takes the
        rest.

    Returns:
      One part more than there are sizes, uint8.
    """
    starts = np.cumsum([0, *sizes]).tolist()
    parts = [data[a:b] for a, b in zip(starts, starts[1:])]
    return [*parts, data[starts[-1] :]]
