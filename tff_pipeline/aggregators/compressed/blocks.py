"""A vector as blocks, and their rotation by random signs and Hadamard's matrix.

After the rotation all numbers of a block are of about one size, so that few
levels serve all of them (Suresh et al. 2017, "Distributed Mean Estimation with
Limited Communication", section 3). The rotation of a whole vector would need
padding to a power of two, by up to its own length; that of blocks needs less
than one block of padding.
"""

import math

import numpy as np
import scipy.linalg
import tensorflow as tf

LARGEST = 4096  # Numbers in a block that is rotated.


def block_size(dimension: int, largest: int = LARGEST) -> int:
    """Returns the size of the blocks of a vector, a power of two.

    >>> block_size(100), block_size(7850)
    (128, 4096)

    Args:
      dimension: The number of numbers in the vector, at least 1.
      largest: The largest size, a power of two.
    """
    return min(largest, 1 << (dimension - 1).bit_length())


def num_blocks(dimension: int, size: int) -> int:
    """Returns the number of blocks of a vector.

    Args:
      dimension: The number of numbers in the vector.
      size: The size of a block.
    """
    return -(-dimension // size)


def cut(vector: tf.Tensor, dimension: int, size: int) -> tf.Tensor:
    """Cuts a vector into blocks; zeros fill up the last.

    Args:
      vector: float32 [dimension].
      dimension: The number of numbers in the vector.
      size: The size of a block.

    Returns:
      float32 [blocks, size].
    """
    count = num_blocks(dimension, size)
    padded = tf.pad(vector, [[0, count * size - dimension]])
    return tf.reshape(padded, [count, size])


def rotate(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Multiplies blocks by random signs, then by Hadamard's matrix.

    Lengths and angles stay as they are.

    Args:
      rows: float32 [blocks, size]; the size is a power of two.
      seed: The seed of the signs, an int64 scalar.

    Returns:
      float32 [blocks, size].
    """
    return _hadamard(rows * _signs(rows, seed))


def rotate_back(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Undoes `rotate`.

    Args:
      rows: float32 [blocks, size].
      seed: The seed that `rotate` was given.

    Returns:
      float32 [blocks, size].
    """
    return _hadamard(rows) * _signs(rows, seed)


def _signs(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    bits = tf.random.stateless_uniform(
        rows.shape,
        tf.stack([seed, tf.constant(0, tf.int64)]),
        maxval=2,
        dtype=tf.int32,
    )
    return tf.cast(2 * bits - 1, tf.float32)


def _hadamard(rows: tf.Tensor) -> tf.Tensor:
    """Multiplies each row by Hadamard's matrix, which is its own inverse.

    The matrix of size a b is the Kronecker product of those of sizes a and b,
    so that two small products do.
    """
    count, size = rows.shape
    power = size.bit_length() - 1
    a, b = 1 << power // 2, 1 << (power - power // 2)
    left, right = (
        tf.constant(scipy.linalg.hadamard(n, np.float32)) for n in (a, b)
    )
    squares = tf.reshape(rows, [count, a, b])
    product = tf.matmul(tf.matmul(left, squares), right)
    return tf.reshape(product, [count, size]) / math.sqrt(size)


def joined(rows: tf.Tensor, dimension: int) -> tf.Tensor:
    """Undoes `cut`.

    Args:
      rows: float32 [blocks, size].
      dimension: The number of numbers in the vector.

    Returns:
      float32 [dimension].
    """
    return tf.reshape(rows, [-1])[:dimension]
