"""Bounds what one client can do to a sum."""

from typing import Any

import numpy as np
import tensorflow as tf

# What is clipped is scaled to a hair below the bound: more than norms are off
# by, and than rounding each number to float32 adds.
_BELOW = 1.0 - 2.0**-16
# Squares of so many float32 add up in float32 to within a quarter of that.
_MOST_ADDED = 128
# Squares of numbers below it would be lost in float32.
_SMALLEST_BOUND = 1e-12
_SMALLEST_FACTOR = 1e-30


def clip(update: Any, bound: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Scales an update down to an L2 norm of at most `bound`.

    Where squares overflow float32, they are taken in float64; zeros stay zeros.
    What is not finite becomes zeros: the update of a client that counts for
    nothing, which is a bound too.

    Args:
      update: A nested structure of float32 tensors.
      bound: A positive float32 scalar.

    Returns:
      (the update, clipped; its norm before, float64, infinite where it was not
      finite).
    """
    leaves = tf.nest.flatten(update)
    quick = tf.add_n([_quick_square(leaf) for leaf in leaves])
    square = tf.cond(
        tf.math.is_finite(quick) & (bound > _SMALLEST_BOUND),
        lambda: quick,
        lambda: tf.add_n([_square(leaf) for leaf in leaves]),
    )
    norm = tf.sqrt(square)
    norm = tf.where(tf.math.is_finite(norm), norm, np.inf)
    limit = tf.cast(bound, tf.float64) * _BELOW
    factor = limit / norm

    def quickly() -> Any:
        small = tf.cast(factor, tf.float32)
        return tf.nest.map_structure(lambda leaf: leaf * small, update)

    def carefully() -> Any:
        # The factor is too small for a float32, or of numbers that are none.
        def scale(leaf: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.cast(leaf, tf.float64) * factor, leaf.dtype)

        return tf.cond(
            tf.math.is_finite(norm),
            lambda: tf.nest.map_structure(scale, update),
            lambda: tf.nest.map_structure(tf.zeros_like, update),
        )

    def scaled() -> Any:
        return tf.cond(factor > _SMALLEST_FACTOR, quickly, carefully)

    return tf.cond(norm <= limit, lambda: update, scaled), norm


def _square(leaf: tf.Tensor) -> tf.Tensor:
    """The sum of squares, a float64 scalar; no float32's square overflows."""
    return tf.reduce_sum(tf.square(tf.cast(leaf, tf.float64)))


def _quick_square(leaf: tf.Tensor) -> tf.Tensor:
    """The same to 2^-17, if squares are float32: added up in two steps."""
    size = leaf.shape.num_elements()
    if size is None:
        return _square(leaf)
    whole = size - size % _MOST_ADDED
    flat = tf.reshape(leaf, [-1])
    rows = tf.reshape(flat[:whole], [-1, _MOST_ADDED])
    partial = tf.cast(tf.reduce_sum(tf.square(rows), axis=1), tf.float64)
    return tf.reduce_sum(partial) + _square(flat[whole:])
