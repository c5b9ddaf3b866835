"""Draws Gaussian noise for the sums of all rounds, fresh or correlated.

The noise on a round's sum is a linear combination of standard normal vectors,
each a function of the key and of its number alone. So a round that is run
again, as after a kill, releases the same bits again and gives nothing more
away; and no generator's state has to be kept. The key must come from a secure
source and be known to nobody who sees what is released.
"""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array = npt.NDArray[Any]

Specs = Sequence[tf.TensorSpec]
Vectors = list[tf.Tensor]


def key_of(secret: int) -> Array:
    """Returns a secret as a key.

    >>> key_of(2**64 + 3).tolist()
    [3, 1]

    Args:
      secret: At most 128 bits, at least 0.

    Returns:
      int64 [2].
    """
    return np.frombuffer(secret.to_bytes(16, "little"), np.int64)


def fold(key: Any, number: Any) -> tf.Tensor:
    """Derives a key of its own for each number, as secret as `key`.

    `tf.random.experimental.stateless_fold_in` would keep half of its bits.

    Args:
      key: int64 [2], an array or a tensor.
      number: An int64 scalar.

    Returns:
      int64 [2].
    """
    return tf.random.stateless_uniform(
        [2],
        tf.stack([key[0] + tf.cast(number, tf.int64), key[1]]),
        minval=None,
        maxval=None,
        dtype=tf.int64,
    )


def standard_normal(key: Any, number: tf.Tensor, specs: Specs) -> Vectors:
    """Draws the standard normal vector of a number.

    Args:
      key: int64 [2], an array or a tensor.
      number: An int64 scalar that says which vector.
      specs: The shapes and float dtypes of the vector's tensors.

    Returns:
      Tensors like `specs`.
    """
    # A seed of its own for each tensor of each vector; TensorFlow scrambles it.
    return [
        tf.random.stateless_normal(
            spec.shape,
            tf.stack([key[0] + number, key[1] + place]),
            dtype=spec.dtype,
        )
        for place, spec in enumerate(specs)
    ]


class Noise(abc.ABC):
    """Gives a round's noise in units of the noise multiplier times the clip.

    Its methods are called in TensorFlow graphs. The state is a structure of
    tensors; where it holds noise, it is as secret as the key.
    """

    def __init__(self, key: Array):
        """Takes the key, int64 [2]; another run must have another."""
        self._key = np.asarray(key, np.int64)

    @abc.abstractmethod
    def initialize(self, specs: Specs) -> Any:
        """Returns the state before the first round.

        Args:
          specs: The shapes and dtypes of the tensors that get noise.
        """

    @abc.abstractmethod
    def next(self, state: Any, specs: Specs) -> tuple[Vectors, Any]:
        """Draws a round's noise.

        Args:
          state: The state before the round.
          specs: The shapes and dtypes of the tensors that get noise.

        Returns:
          (tensors like `specs`, the state after the round).
        """


class FreshNoise(Noise):
    """Draws independent noise in every round: the Gaussian mechanism."""

    def initialize(self, specs: Specs) -> tf.Tensor:
        return tf.constant(0, tf.int64)

    def next(self, state: tf.Tensor, specs: Specs) -> tuple[Vectors, tf.Tensor]:
        return standard_normal(self._key, state, specs), state + 1


class TreeNoise(Noise):
    """Draws in each round what the noise of a binary tree over rounds adds.

    Kairouz et al. 2021, "Practical and Private (Deep) Learning Without Sampling
    or Shuffling", algorithm 1 and appendix B.1: the sum of all rounds so far
    has the noise of the fewest nodes that cover them, each estimated from its
    whole subtree (Honaker 2015). With a server of plain steps, that is how much
    noise the model holds; a round adds the difference to the round before.
    """

    def __init__(self, key: Array, rounds: int, restart: int = 0):
        """Makes the noise of a run.

        Args:
          key: The secret of the noise, int64 [2].
          rounds: The largest number of rounds.
          restart: The number of rounds after which a new tree begins; 0 is
            never.
        """
        super().__init__(key)
        self._restart = restart
        self._levels = (restart or rounds).bit_length()
        # A node's own noise has variance 1, and the sum of its halves twice
        # theirs; the estimate weighs the two by how exact they are.
        variances = [1.0]
        for _ in range(self._levels):
            variances.append(1 / (1 + 1 / (2 * variances[-1])))
        self._variances = np.array(variances, np.float32)

    def variance(self, rounds: int) -> float:
        """Returns the variance of a coordinate of the noise of several rounds.

        Args:
          rounds: The number of rounds since the beginning.
        """

        def of_tree(leaves: int) -> float:
            return sum(
                float(self._variances[level])
                for level in range(self._levels)
                if leaves >> level & 1
            )

        if not self._restart:
            return of_tree(rounds)
        full, rest = divmod(rounds, self._restart)
        return full * of_tree(self._restart) + of_tree(rest)

    def initialize(self, specs: Specs) -> Any:
        # The estimates of complete nodes that are in no complete one above
        # them, at most one of each level; zeros where there is none.
        return tf.constant(0, tf.int64), [
            tf.zeros([self._levels, *spec.shape], spec.dtype) for spec in specs
        ]

    def next(self, state: Any, specs: Specs) -> tuple[Vectors, Any]:
        number, nodes = state
        before = number
        if self._restart:
            # The last tree's noise stays in the model, unknown to the new one.
            before = number % self._restart
            begun = tf.cast(tf.not_equal(before, 0), tf.float32)
            nodes = [each * tf.cast(begun, each.dtype) for each in nodes]
        # As a binary counter: the new leaf makes whole the nodes above it up to
        # the first level that has none yet.
        levels = tf.range(self._levels, dtype=tf.int64)
        bits = tf.bitwise.right_shift(before, levels) % 2
        top = tf.reduce_sum(tf.math.cumprod(tf.cast(bits, tf.int32)))
        # No two nodes have the same number.
        first = number * (self._levels + 1)
        variances = tf.constant(self._variances)

        def up(level: tf.Tensor, half: Vectors) -> tuple[tf.Tensor, Vectors]:
            above = level + 1
            own = standard_normal(
                self._key, first + tf.cast(above, tf.int64), specs
            )
            of_own = variances[above]
            of_halves = of_own / (2 * variances[level])
            return above, [
                tf.cast(of_own, mine.dtype) * mine
                + tf.cast(of_halves, mine.dtype) * (left[level] + right)
                for mine, left, right in zip(own, nodes, half)
            ]

        _, estimate = tf.while_loop(
            lambda level, _: level < top,
            up,
            (tf.constant(0), standard_normal(self._key, first, specs)),
        )
        merged = tf.range(self._levels) < top
        placed = tf.equal(tf.range(self._levels), top)
        noise, kept = [], []
        for each, new in zip(nodes, estimate):
            shape = [-1] + [1] * new.shape.rank
            gone = tf.where(tf.reshape(merged, shape), each, 0)
            noise.append(new - tf.reduce_sum(gone, axis=0))
            kept.append(tf.where(tf.reshape(placed, shape), new, each - gone))
        return noise, (number + 1, kept)


class BandedNoise(Noise):
    """Draws noise that later rounds take back in part: C x = z with normal z.

    Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization", with
    C a lower triangular Toeplitz matrix of few bands. A client that takes part
    at most once in as many rounds as there are bands moves all that is released
    by at most the norm of a column of C for each time.
    """

    def __init__(self, key: Array, coefficients: Sequence[float]):
        """Makes the noise of a run.

        Args:
          key: The secret of the noise, int64 [2].
          coefficients: The first column of C as far as it is not 0; the first
            above 0. Noise is in units of the noise multiplier times the clip if
            their norm is 1.
        """
        super().__init__(key)
        self._coefficients = np.array(coefficients, np.float32)

    def initialize(self, specs: Specs) -> Any:
        # The noise of the last rounds, the newest first.
        bands = len(self._coefficients) - 1
        return tf.constant(0, tf.int64), [
            tf.zeros([bands, *spec.shape], spec.dtype) for spec in specs
        ]

    def next(self, state: Any, specs: Specs) -> tuple[Vectors, Any]:
        number, last = state
        normal = standard_normal(self._key, number, specs)
        noise = [
            (new - tf.tensordot(self._coefficients[1:], before, 1))
            / self._coefficients[0]
            for new, before in zip(normal, last)
        ]
        last = [
            tf.concat([new[tf.newaxis], before], axis=0)[: before.shape[0]]
            for new, before in zip(noise, last)
        ]
        return noise, (number + 1, last)
