"""Scaled signs with error feedback, EF-sign.

Karimireddy et al. 2019, "Error Feedback Fixes SignSGD and other Gradient
Compression Schemes", algorithm 1: of each layer v the code is
||v||_1 / d * sign(v), and what it misses is added to the next update. sign(0)
is 0, so that a weight that never moves stays where it is.
"""

from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.aggregators.compressed import packing
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
    Leaves,
    Specs,
    dimension_of,
    flattened,
    unflattened,
)


class ScaledSigns(Compressor):
    """Sends the signs of all numbers, and the mean size of each layer's.

    A payload is a scale for each layer (float32), a byte that is 1 if there are
    zeros among the numbers, in that case a bit for each number that tells
    whether it is none, and a bit for the sign of each number that is not 0.
    """

    biased: ClassVar[bool] = True

    def describe(self) -> str:
        """Describes the signs."""
        return (
            "of which signs and each layer's mean size are sent, the rest kept "
            "for the next time (EF-sign)"
        )

    def encode(
        self, leaves: Leaves, state: Any, key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Turns an update into bytes.

        Args:
          leaves: The update's tensors.
          state: Not used.
          key: Not used.

        Returns:
          (the payload, uint8 [n]; the state as it was).
        """
        del key
        scales = tf.stack(
            [tf.reduce_mean(tf.abs(tf.cast(x, tf.float32))) for x in leaves]
        )
        vector = flattened(leaves)
        present = tf.not_equal(vector, 0.0)
        bits = packing.pack(tf.cast(present, tf.int32), 1)
        zeros = tf.logical_not(tf.reduce_all(present))
        positive = tf.boolean_mask(vector, present) > 0
        parts = [
            packing.to_bytes(scales),
            tf.cast([zeros], tf.uint8),
            tf.cond(zeros, lambda: bits, lambda: bits[:0]),
            packing.pack(tf.cast(positive, tf.int32), 1),
        ]
        return tf.concat(parts, axis=0), state

    def decode(self, payload: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
        """Turns bytes into an update.

        Args:
          payload: uint8 [n].
          specs: Of the update's tensors.
        """
        dimension = dimension_of(specs)
        scales, zeros, rest = packing.split(payload, [4 * len(specs), 1])
        length = packing.num_packed(dimension, 1)
        present = tf.cond(
            zeros[0] > 0,
            lambda: packing.unpack(rest[:length], dimension, 1),
            lambda: tf.ones([dimension], tf.int32),
        )
        rest = rest[length * tf.cast(zeros[0], tf.int32) :]
        places = tf.where(present > 0)
        positive = packing.unpack(rest, tf.shape(places)[0], 1)
        signs = tf.scatter_nd(
            places,
            tf.cast(2 * positive - 1, tf.float32),
            tf.constant([dimension], tf.int64),
        )
        scales = packing.from_bytes(scales, tf.float32, [len(specs)])
        sizes = tf.repeat(scales, [dimension_of([spec]) for spec in specs])
        return unflattened(sizes * signs, specs)


def ef_sign(context: CompressorContext) -> ScaledSigns:
    """Makes the code of `--compression=ef_sign`.

    Args:
      context: Not used.
    """
    del context
    return ScaledSigns()
