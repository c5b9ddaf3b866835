"""The bound on what one client can do to a sum."""

from typing import Any

import numpy as np
import tensorflow as tf

# What is clipped is scaled to a hair below the bound, so that rounding each
# number to float32 does not lift it above.
BELOW = 1.0 - 2.0**-20


def clip(update: Any, bound: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Scales an update down to an L2 norm of at most `bound`.

    Norms are taken in float64, in which no float32's square overflows, and
    zeros stay zeros. What is not finite becomes zeros: the update of a client
    that counts for nothing, which is a bound too.

    Args:
      update: A nested structure of float32 tensors.
      bound: A positive float32 scalar.

    Returns:
      (the update, clipped; its norm before, float64, infinite where it was not
      finite).
    """
    squares = [
        tf.reduce_sum(tf.square(tf.cast(leaf, tf.float64)))
        for leaf in tf.nest.flatten(update)
    ]
    norm = tf.sqrt(tf.add_n(squares))
    norm = tf.where(tf.math.is_finite(norm), norm, np.inf)
    bound = tf.cast(bound, tf.float64)

    def scaled() -> Any:
        factor = bound / norm * BELOW

        def scale(leaf: tf.Tensor) -> tf.Tensor:
            # Not the factor in float32: it may be too small for one.
            product = tf.cast(leaf, tf.float64) * factor
            return tf.cast(product, leaf.dtype)

        return tf.nest.map_structure(scale, update)

    def otherwise() -> Any:
        return tf.cond(
            tf.math.is_finite(norm),
            scaled,
            lambda: tf.nest.map_structure(tf.zeros_like, update),
        )

    return tf.cond(norm <= bound * BELOW, lambda: update, otherwise), norm
