"""Turns updates into integers with noise, and their sum into the mean.

The two ends of the distributed discrete Gaussian mechanism: Kairouz, Liu,
Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated
Learning with Secure Aggregation", algorithm 1 on a client and 2 on the server.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.aggregators.private import discrete_gaussian
from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.discrete_mechanism import Mechanism
from tff_pipeline.aggregators.private.noise import Specs, fold

Array = npt.NDArray[Any]

# The rotations of all rounds follow from it; they are public.
_ROTATION = 0x6A09E667F3BCC908
# A Hadamard matrix of so many bits is multiplied at once.
_FACTOR_BITS = 6
# Of the bound on a squared norm: room for float64's rounding of the sum. What
# was clipped is below its bound by more, so that some rounding is short enough.
_BELOW = 1 - 1e-9


def encode(
    mechanism: Mechanism,
    key: Array,
    number_of_round: tf.Tensor,
    number: tf.Tensor,
    update: Any,
) -> tf.Tensor:
    """Computes the message of a client (algorithm 1).

    Args:
      mechanism: Clip, grid and noise.
      key: The secret of noise and rounding, int64 [2].
      number_of_round: An int64 scalar, the same for all clients.
      number: An int64 scalar, another for every client.
      update: A structure of float32 tensors.

    Returns:
      int64 [padded dimension], from 0 to below the modulus.
    """
    update = clip(update, tf.constant(mechanism.bound, tf.float32))[0]
    vector = tf.concat(
        [tf.reshape(leaf, [-1]) for leaf in tf.nest.flatten(update)], axis=0
    )
    seed = key
    # The update too: should it differ when a round is run again, the two must
    # not have the noise in common that their difference would be free of.
    for each in (number_of_round, number, _fingerprint(vector)):
        seed = fold(seed, each)
    rounding, noise = (fold(seed, use) for use in range(2))
    vector = tf.pad(
        tf.cast(vector, tf.float64),
        [[0, mechanism.padded - mechanism.dimension]],
    )
    signs = _signs(number_of_round, mechanism.padded)
    steps = hadamard(vector * signs) / mechanism.granularity
    integers = tf.cast(rounded(rounding, steps, mechanism.norm_bound), tf.int64)
    if mechanism.noise_multiplier:
        integers += discrete_gaussian.sample(
            noise, mechanism.local_stddev, mechanism.padded
        )
    # The modulus is a power of two, also for negative numbers.
    return tf.bitwise.bitwise_and(integers, mechanism.modulus - 1)


def decode(
    mechanism: Mechanism,
    number_of_round: tf.Tensor,
    total: tf.Tensor,
    specs: Specs,
) -> list[tf.Tensor]:
    """Computes the mean from the sum of clients' messages (algorithm 2).

    Args:
      mechanism: Clip, grid and noise, as the clients'.
      number_of_round: The clients', an int64 scalar.
      total: The sum of messages, int64 [padded dimension].
      specs: The shapes and dtypes of the update's tensors.

    Returns:
      Tensors like `specs`.
    """
    half = mechanism.modulus // 2
    steps = tf.bitwise.bitwise_and(total + half, mechanism.modulus - 1) - half
    vector = hadamard(tf.cast(steps, tf.float64)) * _signs(
        number_of_round, mechanism.padded
    )
    vector *= mechanism.granularity / mechanism.expected_clients
    sizes = [spec.shape.num_elements() for spec in specs]
    rest = mechanism.padded - mechanism.dimension
    parts = tf.split(tf.cast(vector, tf.float32), [*sizes, rest])
    return [tf.reshape(part, spec.shape) for part, spec in zip(parts, specs)]


def rounded(seed: tf.Tensor, vector: tf.Tensor, norm_bound: float) -> tf.Tensor:
    """Rounds up or down at random, unbiased but for the bound on the norm.

    Conditional stochastic rounding: again until the norm is within the bound,
    so that nothing a client has trained can be longer.

    Args:
      seed: int64 [2].
      vector: float64 [n], of at most the norm that the bound was made for.
      norm_bound: The largest L2 norm of the result.

    Returns:
      float64 [n], whole numbers.
    """
    down = tf.floor(vector)
    up_with = tf.cast(vector - down, tf.float32)
    limit = norm_bound**2 * _BELOW

    def attempt(number: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        uniform = tf.random.stateless_uniform(
            tf.shape(vector),
            fold(seed, number),
        )
        return number + 1, down + tf.cast(uniform < up_with, tf.float64)

    _, result = tf.while_loop(
        lambda number, value: (
            tf.equal(number, 0) | (tf.reduce_sum(tf.square(value)) > limit)
        ),
        attempt,
        (tf.constant(0, tf.int64), tf.zeros_like(vector)),
    )
    return result


def hadamard(vector: tf.Tensor) -> tf.Tensor:
    """Computes the Walsh-Hadamard transform, orthonormal, its own inverse.

    As products with small matrices: the matrix of 2^n numbers is the Kronecker
    product of such.

    Args:
      vector: float64 [n], n a power of two.

    Returns:
      float64 [n].
    """
    left = int(vector.shape[0]).bit_length() - 1
    while left:
        bits = min(left, _FACTOR_BITS)
        left -= bits
        matrix = np.ones([1, 1])
        for _ in range(bits):
            matrix = np.kron([[1, 1], [1, -1]], matrix) / math.sqrt(2)
        # The axis that is done comes first, and the next is the last; after all
        # of them they are in order again.
        rows = tf.reshape(vector, [-1, 1 << bits])
        vector = tf.reshape(tf.matmul(matrix, rows, transpose_b=True), [-1])
    return vector


def _signs(number_of_round: tf.Tensor, count: int) -> tf.Tensor:
    """The random signs of a round's rotation, float64 [count]."""
    bits = tf.random.stateless_uniform(
        [count],
        tf.stack([tf.constant(_ROTATION, tf.int64), number_of_round]),
        minval=0,
        maxval=2,
        dtype=tf.int32,
        # Server and clients must draw the same, on whatever device.
        alg="philox",
    )
    return tf.cast(2 * bits - 1, tf.float64)


def _fingerprint(vector: tf.Tensor) -> tf.Tensor:
    """An int64 scalar of the bits of a float32 vector."""
    octets = tf.reshape(tf.bitcast(vector, tf.uint8), [1, -1])
    return tf.bitcast(tf.fingerprint(octets), tf.int64)[0]
