"""Chooses rows by scores, whatever the order in which clients arrived.

Ties are broken by what clients sent: with one neighbour left, two clients that
are each other's nearest always have the same score, so that a choice by place
would depend on who came first.
"""

import tensorflow as tf

from tff_pipeline.aggregators.rows import Rows


def first_by_value(rows: Rows, candidates: tf.Tensor) -> tf.Tensor:
    """Chooses the row that is first in lexicographic order.

    Args:
      rows: The rows.
      candidates: Which rows to choose from, bool [clients], one at least.

    Returns:
      The place of the row, an int32 scalar.
    """
    places = tf.cast(tf.where(candidates)[:, 0], tf.int32)

    def lower(best: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        # The first leaf in which they differ decides, so the last is set first.
        below = tf.constant(False)
        for each in reversed(rows.values):
            one, other = each[place], each[best]
            differ = tf.not_equal(one, other)
            at = tf.argmax(differ)
            below = tf.where(differ[at], one[at] < other[at], below)
        return tf.where(below, place, best)

    return tf.foldl(lower, places[1:], places[0])


def seats(scores: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Gives the rows with the lowest scores a seat each.

    Rows that tie for the last seats share them equally.

    >>> seats(tf.constant([3.0, 1.0, 2.0, 2.0]), 2).numpy().tolist()
    [0.0, 1.0, 0.5, 0.5]

    Args:
      scores: The scores, [..., rows].
      count: The number of seats, 1 or above and at most that of rows.

    Returns:
      The seats of each row from 0 to 1, float32 [..., rows].
    """
    last = tf.sort(scores)[..., count - 1 : count]
    below = tf.cast(scores < last, tf.float32)
    tied = tf.cast(tf.equal(scores, last), tf.float32)
    left = tf.cast(count, tf.float32) - tf.reduce_sum(below, -1, True)
    return below + tied * left / tf.reduce_sum(tied, -1, True)
