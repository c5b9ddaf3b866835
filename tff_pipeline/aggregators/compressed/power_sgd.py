"""Products of small rank in place of matrices, PowerSGD.

Vogels et al. 2019, "PowerSGD: Practical Low-Rank Gradient Compression for
Distributed Optimization", algorithms 1 and 2. With M a layer as a matrix [n, m]
and Q [m, r] from the time before,

    P <- orthonormal(M Q),   Q <- M^T P,   M is decoded as P Q^T.

In the paper P and Q are averaged over the workers in turn, so that all stay
connected within a step. A client has one message a round, and may not be there
a moment later: here it takes both steps on its own matrix and sends P and Q.
What it keeps for the next time is against its own product, and its Q is its
own too. One step of the power method each time, from the Q before, follows a
matrix that changes slowly as closely as many steps would.
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tff_pipeline import randomness
from tff_pipeline.aggregators.compressed import packing
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
    Leaves,
    Specs,
    dimension_of,
)


class PowerSgd(Compressor):
    """Sends P and Q of each matrix, and all other tensors as they are.

    A tensor of more than two axes is a matrix with its last axis as columns.
    One whose P and Q would be no smaller is sent as it is.
    """

    biased: ClassVar[bool] = True

    def __init__(self, rank: int, seed: int):
        """Makes the code.

        Args:
          rank: The rank r of the products.
          seed: The seed of the first Q, which all clients have alike.
        """
        self._rank = rank
        self._seed = seed

    def describe(self) -> str:
        """Describes the products."""
        return (
            f"of which each matrix is sent as a product of rank {self._rank}, "
            "the rest kept for the next time (PowerSGD)"
        )

    def _shape(self, spec: Any) -> Any:
        """Returns (n, m) of a tensor that is sent as a product, else `None`."""
        if len(spec.shape) < 2:
            return None
        columns = spec.shape[-1]
        rows = dimension_of([spec]) // columns
        if self._rank * (rows + columns) >= rows * columns:
            return None
        return rows, columns

    def initial_state(self, specs: Specs) -> Any:
        """Draws the first Q of each matrix.

        Args:
          specs: Of the update's tensors.

        Returns:
          A list of arrays float32 [m, r].
        """
        draw = randomness.generator(self._seed, "power_sgd")
        shapes = [s for s in map(self._shape, specs) if s is not None]
        return [
            draw.standard_normal([columns, self._rank]).astype(np.float32)
            for _, columns in shapes
        ] or ()

    def encode(
        self, leaves: Leaves, state: Any, key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Turns an update into bytes: of each tensor P and Q, or its numbers.

        Args:
          leaves: The update's tensors.
          state: The Q of each matrix from the time before.
          key: Not used.

        Returns:
          (the payload, uint8 [n]; the new Q of each matrix).
        """
        del key
        before, parts = list(state), []
        after: list[tf.Tensor] = []
        for leaf in leaves:
            leaf, shape = tf.cast(leaf, tf.float32), self._shape(leaf)
            if shape is None:
                parts.append(packing.to_bytes(leaf))
                continue
            matrix, q = tf.reshape(leaf, shape), before[len(after)]
            p, _ = tf.linalg.qr(tf.matmul(matrix, q))
            new = tf.matmul(matrix, p, transpose_a=True)
            parts += [packing.to_bytes(p), packing.to_bytes(new)]
            # From a Q of zeros no direction would be found again.
            moved = tf.reduce_any(tf.not_equal(new, 0.0))
            after.append(tf.where(moved, new, q))
        return tf.concat(parts, axis=0), after or state

    def decode(self, payload: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
        """Turns bytes into an update.

        Args:
          payload: uint8 [n].
          specs: Of the update's tensors.
        """
        shapes: list[tuple[int, ...]] = []
        for spec in specs:
            shape = self._shape(spec)
            if shape is None:
                shapes.append(tuple(spec.shape))
            else:
                shapes += [(size, self._rank) for size in shape]
        sizes = [4 * int(np.prod(shape, dtype=np.int64)) for shape in shapes]
        parts = iter(
            [
                packing.from_bytes(part, tf.float32, shape)
                for part, shape in zip(packing.split(payload, sizes), shapes)
            ]
        )
        leaves = []
        for spec in specs:
            leaf = next(parts)
            if self._shape(spec) is not None:
                leaf = tf.matmul(leaf, next(parts), transpose_b=True)
            leaves.append(tf.cast(tf.reshape(leaf, spec.shape), spec.dtype))
        return leaves


def power_sgd(context: CompressorContext) -> PowerSgd:
    """Makes the code of `--compression=power_sgd`.

    Args:
      context: Has the rank, and the seed.
    """
    assert context.config.rank is not None  # `config` sees to it.
    return PowerSgd(context.config.rank, context.seed)
