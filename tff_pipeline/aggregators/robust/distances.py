"""Squared distances between the rows of a cohort.

They are sums of squared differences in float64, never |x|^2 + |y|^2 - 2xy: for
updates that are small beside what they have in common, such as whole models,
that formula's rounding is larger than the distances, and wrong clients are
chosen. In float64 no square of a float32 overflows.
"""

from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from tff_pipeline.aggregators.rows import Rows

# Numbers of a row that are taken at a time, so that those of many clients fit
# into a processor's cache.
_CHUNK = 4096


def squared_distances(rows: Rows) -> tf.Tensor:
    """Computes the squared distances between all pairs of rows.

    >>> from tff_pipeline.aggregators.rows import rows_of
    >>> squared_distances(rows_of([[0.0, 0.0], [3.0, 4.0]])).numpy().tolist()
    [[0.0, 25.0], [25.0, 0.0]]

    Args:
      rows: The rows.

    Returns:
      float64 [clients, clients], symmetric to the bit.
    """
    halves = [_of_matrix(each, rows.count) for each in rows.values]
    half = tf.add_n(halves)
    return half + tf.transpose(half)


def squared_norms(
    values: Sequence[tf.Tensor], centre: Optional[Sequence[tf.Tensor]] = None
) -> tf.Tensor:
    """Computes the squared distance of each row from a centre.

    Args:
      values: Matrices [clients, numbers].
      centre: A vector [numbers] for each of them; zeros by default.

    Returns:
      float64 [clients].
    """
    if centre is None:
        centre = [tf.zeros([each.shape[1]], each.dtype) for each in values]
    return tf.add_n([_from_centre(*pair) for pair in zip(values, centre)])


def _from_centre(matrix: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
    """Computes the squared distance of each row of a matrix from a vector."""
    numbers = matrix.shape[1]
    middle = tf.cast(centre, tf.float64)

    def chunk(start: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        here = slice(start, start + _CHUNK)
        part = tf.cast(matrix[:, here], tf.float64)
        squares = tf.math.squared_difference(part, middle[here])
        return start + _CHUNK, sums + tf.reduce_sum(squares, axis=1)

    _, sums = tf.while_loop(
        lambda start, _: start < numbers,
        chunk,
        (tf.constant(0), tf.zeros([tf.shape(matrix)[0]], tf.float64)),
    )
    return sums


def _of_matrix(matrix: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Computes the distances of each row to those below it; zeros elsewhere."""
    numbers = matrix.shape[1]

    def chunk(start: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        part = tf.cast(matrix[:, start : start + _CHUNK], tf.float64)

        def row(i: tf.Tensor) -> tf.Tensor:
            differences = part[i + 1 :] - part[i]
            found = tf.reduce_sum(tf.square(differences), axis=1)
            return tf.pad(found, [[i + 1, 0]])

        found = tf.map_fn(row, tf.range(count), fn_output_signature=tf.float64)
        return start + _CHUNK, sums + found

    _, sums = tf.while_loop(
        lambda start, _: start < numbers,
        chunk,
        (tf.constant(0), tf.zeros([count, count], tf.float64)),
    )
    return sums
