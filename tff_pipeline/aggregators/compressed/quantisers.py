"""Codes of a few bits a number: uniform levels, QSGD and DRIVE.

Each rounds at random, or rotates at random, so that the mean of what is decoded
is the update. Numbers are coded in blocks, each with a scale of its own.
"""

import abc
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.aggregators.compressed import blocks, entropy, packing
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
    Leaves,
    Specs,
    dimension_of,
    drawn_seed,
    flattened,
    unflattened,
    uniform,
)


class BlockCode(Compressor):
    """Codes each number of a block by as many bits.

    A payload is the seed of the rotation, if there is one (int64), the scales
    of the blocks (float32 [blocks, scales]), and the packed codes: of a block
    that was rotated all, else of the update's numbers alone.
    """

    _scales: ClassVar[int] = 1
    _largest: ClassVar[int] = blocks.LARGEST

    def __init__(self, bits: int, rotated: bool):
        """Makes the code.

        Args:
          bits: The number of bits of a code.
          rotated: Whether to rotate the blocks first.
        """
        self._bits = bits
        self._rotated = rotated

    @abc.abstractmethod
    def _quantise(
        self, rows: tf.Tensor, draws: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Quantises blocks.

        Args:
          rows: float32 [blocks, size].
          draws: Uniform numbers from 0 to 1 of the same shape.

        Returns:
          (scales float32 [blocks, scales], codes int32 [blocks, size]).
        """

    @abc.abstractmethod
    def _restore(self, scales: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """Undoes `_quantise`, but for the rounding."""

    def _packed(self, codes: tf.Tensor) -> tf.Tensor:
        """Turns codes into bytes."""
        return packing.pack(codes, self._bits)

    def _unpacked(self, data: tf.Tensor, count: int) -> tf.Tensor:
        """Undoes `_packed`."""
        return packing.unpack(data, count, self._bits)

    def encode(
        self, leaves: Leaves, state: Any, key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Turns an update into bytes.

        Args:
          leaves: The update's tensors.
          state: Not used.
          key: The client's key for all draws, int64 [2].

        Returns:
          (the payload, uint8 [n]; the state as it was).
        """
        dimension = dimension_of(leaves)
        size = blocks.block_size(dimension, self._largest)
        rows = blocks.cut(flattened(leaves), dimension, size)
        parts = []
        if self._rotated:
            seed = drawn_seed(key)
            rows = blocks.rotate(rows, seed)
            parts.append(packing.to_bytes(seed))
        scales, codes = self._quantise(rows, uniform(rows.shape, key))
        codes = tf.reshape(codes, [-1])
        if not self._rotated:
            codes = codes[:dimension]
        parts += [packing.to_bytes(scales), self._packed(codes)]
        return tf.concat(parts, axis=0), state

    def decode(self, payload: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
        """Turns bytes into an update.

        Args:
          payload: uint8 [n].
          specs: Of the update's tensors.
        """
        dimension = dimension_of(specs)
        size = blocks.block_size(dimension, self._largest)
        count = blocks.num_blocks(dimension, size)
        shape = [count, self._scales]
        seed, scales, codes = packing.split(
            payload, [8 if self._rotated else 0, 4 * count * self._scales]
        )
        scales = packing.from_bytes(scales, tf.float32, shape)
        num_codes = count * size if self._rotated else dimension
        codes = self._unpacked(codes, num_codes)
        codes = tf.pad(codes, [[0, count * size - num_codes]])
        rows = self._restore(scales, tf.reshape(codes, [count, size]))
        if self._rotated:
            rows = blocks.rotate_back(rows, packing.from_bytes(seed, tf.int64))
        return unflattened(blocks.joined(rows, dimension), specs)


class Uniform(BlockCode):
    """Rounds each number at random to one of two levels beside it.

    There are 2**bits levels from the least to the largest number of a block
    (Suresh et al. 2017, sections 2.2 and 3). Unbiased.
    """

    _scales = 2

    def describe(self) -> str:
        """Describes the levels."""
        rotated = "rotated and " if self._rotated else ""
        return f"{rotated}rounded at random to {2**self._bits} uniform levels"

    def _quantise(
        self, rows: tf.Tensor, draws: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        least = tf.reduce_min(rows, axis=1, keepdims=True)
        step = (tf.reduce_max(rows, axis=1, keepdims=True) - least) / (
            2**self._bits - 1
        )
        level = tf.floor(tf.math.divide_no_nan(rows - least, step) + draws)
        # Rounding may put the largest number a hair above its level.
        level = tf.minimum(level, 2**self._bits - 1)
        return tf.concat([least, step], axis=1), tf.cast(level, tf.int32)

    def _restore(self, scales: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        return scales[:, :1] + tf.cast(codes, tf.float32) * scales[:, 1:]


class Qsgd(BlockCode):
    """Rounds sizes at random to multiples of the block's norm / s.

    Alistarh et al. 2017, "QSGD", section 3.1, with s = 2**(bits - 1) - 1 and
    blocks of 512 as in section 5. Unbiased, with a variance of at most
    min(d / s**2, sqrt(d) / s) times the squared norm of a block of d numbers
    (lemma 3.1).
    """

    _largest = 512

    def __init__(self, bits: int, gamma: bool = False):
        """Makes the code.

        Args:
          bits: The number of bits of a code, of which one is the sign; 2 or
            more.
          gamma: Whether Elias' gamma code stands for as many bits for each, as
            in section 3.2; most levels are 0.
        """
        super().__init__(bits, rotated=False)
        self._levels = 2 ** (bits - 1) - 1
        self._gamma = gamma

    def describe(self) -> str:
        """Describes the levels."""
        code = ", in Elias' gamma code" if self._gamma else ""
        return (
            f"rounded at random to {self._levels} sizes and their signs (QSGD)"
            f"{code}"
        )

    def _packed(self, codes: tf.Tensor) -> tf.Tensor:
        if self._gamma:
            return entropy.gamma_to_bytes(codes - self._levels)
        return super()._packed(codes)

    def _unpacked(self, data: tf.Tensor, count: int) -> tf.Tensor:
        if self._gamma:
            return entropy.gamma_from_bytes(data, count) + self._levels
        return super()._unpacked(data, count)

    def _quantise(
        self, rows: tf.Tensor, draws: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # Squares of the numbers themselves might overflow.
        largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
        norm = largest * tf.norm(
            tf.math.divide_no_nan(rows, largest), axis=1, keepdims=True
        )
        size = tf.math.divide_no_nan(tf.abs(rows), norm) * self._levels
        level = tf.minimum(tf.floor(size + draws), self._levels)
        codes = tf.sign(rows) * level + self._levels
        return norm, tf.cast(codes, tf.int32)

    def _restore(self, scales: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        signed = tf.cast(codes - self._levels, tf.float32)
        return scales * (signed / self._levels)


class Drive(BlockCode):
    """Sends the signs of rotated blocks, and a scale that makes them unbiased.

    Vargaftik et al. 2021, "DRIVE: One-bit Distributed Mean Estimation",
    algorithm 1 with the scale of theorem 2, ||y||_2^2 / ||y||_1 of a rotated
    block y. The error's squared norm is about pi / 2 - 1 = 0.571 of the
    update's. A block of zeros gives zeros.
    """

    def __init__(self) -> None:
        """Makes the code."""
        super().__init__(bits=1, rotated=True)

    def describe(self) -> str:
        """Describes the signs."""
        return "rotated, of which the signs are sent (DRIVE)"

    def _quantise(
        self, rows: tf.Tensor, draws: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        del draws
        # Squares of the numbers themselves might overflow.
        largest = tf.reduce_max(tf.abs(rows), axis=1, keepdims=True)
        shares = tf.math.divide_no_nan(tf.abs(rows), largest)
        scale = largest * tf.math.divide_no_nan(
            tf.reduce_sum(shares**2, axis=1, keepdims=True),
            tf.reduce_sum(shares, axis=1, keepdims=True),
        )
        return scale, tf.cast(rows >= 0, tf.int32)

    def _restore(self, scales: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        return scales * tf.cast(2 * codes - 1, tf.float32)


def uniform_levels(context: CompressorContext) -> Uniform:
    """Makes the code of `--compression=uniform`.

    Args:
      context: Has the number of bits, and whether to rotate.
    """
    config = context.config
    assert config.bits is not None  # `config` sees to it.
    return Uniform(config.bits, bool(config.rotation))


def qsgd(context: CompressorContext) -> Qsgd:
    """Makes the code of `--compression=qsgd`.

    Args:
      context: Has the number of bits, and their code.
    """
    config = context.config
    assert config.bits is not None  # `config` sees to it.
    return Qsgd(config.bits, config.entropy == "elias_gamma")


def drive(context: CompressorContext) -> Drive:
    """Makes the code of `--compression=drive`.

    Args:
      context: Not used.
    """
    del context
    return Drive()
