"""Codes that send a few numbers of an update, and where they stand.

Both lose most of the update in a round, and need error feedback: what was not
sent is added to the next update (Stich et al. 2018, "Sparsified SGD with
Memory", algorithm 1).
"""

import abc
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.aggregators.compressed import packing
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
    Leaves,
    Specs,
    dimension_of,
    drawn_seed,
    flattened,
    unflattened,
)
from tff_pipeline.config.compression import num_chosen


class Sparse(Compressor):
    """Sends k of all numbers of an update as float32.

    The k are chosen of all layers together. Of few layers each number would be
    sent in every round, of others hardly any, if each sent its own share.
    """

    biased: ClassVar[bool] = True

    def __init__(self, fraction: float):
        """Makes the code.

        Args:
          fraction: The share of all numbers that is sent.
        """
        self._fraction = fraction

    @abc.abstractmethod
    def _choose(
        self, vector: tf.Tensor, count: int, dimension: int, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Chooses numbers.

        Args:
          vector: float32 [dimension].
          count: How many to choose.
          dimension: The number of numbers in the vector.
          key: The client's key, int64 [2].

        Returns:
          (their places in ascending order, int32 [count]; the bytes that tell
          the places).
        """

    @abc.abstractmethod
    def _places(self, data: tf.Tensor, count: int, dimension: int) -> tf.Tensor:
        """Reads the places from the bytes that tell them."""

    def encode(
        self, leaves: Leaves, state: Any, key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Turns an update into bytes: the numbers, then their places.

        Args:
          leaves: The update's tensors.
          state: Not used.
          key: The client's key for all draws, int64 [2].

        Returns:
          (the payload, uint8 [n]; the state as it was).
        """
        dimension, vector = dimension_of(leaves), flattened(leaves)
        count = num_chosen(self._fraction, dimension)
        places, where = self._choose(vector, count, dimension, key)
        values = packing.to_bytes(tf.gather(vector, places))
        return tf.concat([values, where], axis=0), state

    def decode(self, payload: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
        """Turns bytes into an update, with zeros where nothing was sent.

        Args:
          payload: uint8 [n].
          specs: Of the update's tensors.
        """
        dimension = dimension_of(specs)
        count = num_chosen(self._fraction, dimension)
        values, where = packing.split(payload, [4 * count])
        places = self._places(where, count, dimension)
        vector = tf.scatter_nd(
            places[:, tf.newaxis],
            packing.from_bytes(values, tf.float32, [count]),
            [dimension],
        )
        return unflattened(vector, specs)


class TopK(Sparse):
    """Sends the k numbers of the largest size; the first of equals."""

    def describe(self) -> str:
        """Describes the choice."""
        return (
            f"of which the largest {100 * self._fraction:g}% of all layers' "
            "numbers are sent, the rest kept for the next time"
        )

    def _choose(
        self, vector: tf.Tensor, count: int, dimension: int, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del key
        places = tf.sort(tf.math.top_k(tf.abs(vector), count).indices)
        return places, ascending_to_bytes(places, count, dimension)

    def _places(self, data: tf.Tensor, count: int, dimension: int) -> tf.Tensor:
        return ascending_from_bytes(data, count, dimension)


class RandomK(Sparse):
    """Sends k numbers that are drawn from a seed, which is sent for them.

    With error feedback the numbers are sent as they are, not times d / k.
    """

    def describe(self) -> str:
        """Describes the choice."""
        return (
            f"of which a random {100 * self._fraction:g}% of the numbers are "
            "sent, the rest kept for the next time"
        )

    def _choose(
        self, vector: tf.Tensor, count: int, dimension: int, key: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seed = packing.to_bytes(drawn_seed(key))
        return self._places(seed, count, dimension), seed

    def _places(self, data: tf.Tensor, count: int, dimension: int) -> tf.Tensor:
        seed = packing.from_bytes(data, tf.int64)
        draws = tf.random.stateless_uniform(
            [dimension],
            tf.stack([seed, tf.constant(0, tf.int64)]),
            minval=None,
            maxval=None,
            dtype=tf.int32,
        )
        return tf.sort(tf.math.top_k(draws, count).indices)


def _low_bits(count: int, dimension: int) -> int:
    """Number of bits of a place that are written as they are."""
    return max(0, (dimension // count).bit_length() - 1)


def ascending_to_bytes(
    places: tf.Tensor, count: int, dimension: int
) -> tf.Tensor:
    """Writes ascending places in some 2 + log2(dimension / count) bits each.

    This is the code of Elias (1974) and Fano (1971): the low bits of each place
    as they are; the high bits, which ascend slowly, as a row of bits in which
    bit number high + i is set for place i. The number of bytes depends on the
    two counts alone.

    Args:
      places: int32 [count], ascending, each at least 0 and below `dimension`.
      count: The number of places.
      dimension: The number that all are below.

    Returns:
      uint8 [n].
    """
    bits = _low_bits(count, dimension)
    low = tf.bitwise.bitwise_and(places, 2**bits - 1)
    high = tf.bitwise.right_shift(places, bits) + tf.range(count)
    row = tf.scatter_nd(
        high[:, tf.newaxis],
        tf.ones([count], tf.int32),
        [count + (dimension - 1 >> bits)],
    )
    return tf.concat([packing.pack(low, bits), packing.pack(row, 1)], axis=0)


def ascending_from_bytes(
    data: tf.Tensor, count: int, dimension: int
) -> tf.Tensor:
    """Undoes `ascending_to_bytes`.

    Args:
      data: uint8 [n].
      count: The number of places.
      dimension: The number that all are below.

    Returns:
      int32 [count].
    """
    bits = _low_bits(count, dimension)
    low, row = packing.split(data, [packing.num_packed(count, bits)])
    row = packing.unpack(row, count + (dimension - 1 >> bits), 1)
    high = tf.cast(tf.where(row > 0)[:, 0], tf.int32) - tf.range(count)
    low = packing.unpack(low, count, bits)
    return tf.bitwise.left_shift(high, bits) + low


def top_k(context: CompressorContext) -> TopK:
    """Makes the code of `--compression=top_k`.

    Args:
      context: Has the share of the numbers.
    """
    assert context.config.fraction is not None  # `config` sees to it.
    return TopK(context.config.fraction)


def random_k(context: CompressorContext) -> RandomK:
    """Makes the code of `--compression=random_k`.

    Args:
      context: Has the share of the numbers.
    """
    assert context.config.fraction is not None  # `config` sees to it.
    return RandomK(context.config.fraction)
