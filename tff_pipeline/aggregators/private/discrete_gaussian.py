"""Noise on the integers: the discrete Gaussian.

Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy":
a number k has a probability in proportion to exp(-k^2 / (2 sigma^2)). Normal
numbers, rounded, have others.
"""

import math

import tensorflow as tf

from tff_pipeline.aggregators.private.noise import fold

# At least so many bins a sigma; with more, a place in a bin is rejected less.
_BINS = 16
# A number takes one int64 of random bits: of the lowest its place in a bin, of
# the next what makes the draw of its bin finer; the uppermost is its sign.
_PLACE, _FINER = 24, 32
_MAX_STDDEV = float(_BINS << _PLACE)


def sample(seed: tf.Tensor, stddev: float, count: int) -> tf.Tensor:
    """Draws independent numbers of a discrete Gaussian around 0.

    By rejection from a discrete Laplace distribution of scale sigma, as in
    algorithm 3 of the paper. That is drawn in bins: which bin is geometric, and
    the place in it uniform. It is exact but for float64, by which the
    probability of each number is off by a factor within 1 +- 1e-12, as far out
    as any would ever be drawn.

    Args:
      seed: int64 [2]; the same seed gives the same numbers.
      stddev: Sigma, above 0 and at most 2^28.
      count: The number of draws.

    Returns:
      int64 [count].

    Raises:
      ValueError: If sigma is out of range.
    """
    if not 0 < stddev <= _MAX_STDDEV:
        raise ValueError(
            f"stddev={stddev}: must be above 0 and at most {_MAX_STDDEV:g}."
        )
    width = 1 << max(0, math.floor(math.log2(stddev / _BINS)))
    # The share that stays is at least this; the sum over all integers of
    # exp(-k^2 / (2 sigma^2)) is at least 1 and at least sqrt(2 pi) sigma.
    stays = -math.expm1(-width / stddev) / width * math.exp(-0.5)
    stays *= max(1.0, math.sqrt(2 * math.pi) * stddev) / 2
    # So that one batch is nearly always enough.
    drawn = math.ceil((count + 6 * math.sqrt(count) + 6) / stays)

    def draw(attempt: tf.Tensor) -> tf.Tensor:
        own = fold(seed, attempt)
        of_bits, of_bin, of_staying = (fold(own, use) for use in range(3))
        bits = tf.random.stateless_uniform(
            [drawn], of_bits, minval=None, maxval=None, dtype=tf.int64
        )
        place = tf.cast(tf.bitwise.bitwise_and(bits, width - 1), tf.float64)
        finer = tf.bitwise.bitwise_and(
            tf.bitwise.right_shift(bits, tf.constant(_PLACE, tf.int64)),
            (1 << _FINER) - 1,
        )
        # 52 random bits are too coarse for the tail, which is near 0, where a
        # float64 has room for more. The half keeps the logarithm finite.
        uniform = tf.random.stateless_uniform([drawn], of_bin, dtype=tf.float64)
        uniform += (tf.cast(finer, tf.float64) + 0.5) * 2.0 ** -(52 + _FINER)
        head = tf.floor(tf.math.log(uniform) * (-stddev / width)) * width
        magnitude = head + place
        # What is drawn has the density exp(-head / sigma); this makes it
        # exp(-magnitude^2 / (2 sigma^2) - 1/2).
        exponent = -0.5 * tf.square(magnitude / stddev - 1) - place / stddev
        stay = tf.random.stateless_uniform(
            [drawn], of_staying, dtype=tf.float64
        ) < tf.exp(exponent)
        negative = bits < 0
        # 0 must not come with either sign.
        stay &= ~(negative & tf.equal(magnitude, 0))
        signed = tf.where(negative, -magnitude, magnitude)
        return tf.cast(tf.boolean_mask(signed, stay), tf.int64)

    # A batch that is too small is drawn anew as a whole: how many stay says
    # nothing about which.
    _, values = tf.while_loop(
        lambda _, values: tf.size(values) < count,
        lambda attempt, _: (attempt + 1, draw(attempt)),
        (tf.constant(0, tf.int64), tf.zeros([0], tf.int64)),
        (tf.TensorShape([]), tf.TensorShape([None])),
    )
    return tf.ensure_shape(values[:count], [count])
