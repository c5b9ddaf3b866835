"""Codes for vectors of which one mask, for all, keeps some numbers.

Who knows the mask needs the kept numbers alone. Who does not gets it before
them, a bit for each number.
"""

import tensorflow as tf

from tff_pipeline.aggregators.compressed import packing

# The first byte of a vector with its mask says whether there is one.
_WHOLE, _MASKED = 0, 1


def to_bytes(vector: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Writes the kept numbers, in their order, for whoever has the mask.

    >>> kept = tf.constant([True, False, True])
    >>> payload = to_bytes(tf.constant([1.0, 2.0, 3.0]), kept)
    >>> payload.shape[0], from_bytes(payload, kept).numpy().tolist()
    (8, [1.0, 0.0, 3.0])

    Args:
      vector: float32 [n].
      kept: The mask, bool [n].

    Returns:
      uint8 [4 k], of k numbers that are kept.
    """
    return packing.to_bytes(tf.boolean_mask(vector, kept))


def from_bytes(payload: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Undoes `to_bytes`; what was not sent is 0.

    Args:
      payload: uint8 [4 k].
      kept: The mask, bool [n], of which k are true.

    Returns:
      float32 [n].
    """
    values = tf.bitcast(tf.reshape(payload, [-1, 4]), tf.float32)
    return tf.scatter_nd(
        tf.where(kept), values, tf.shape(kept, out_type=tf.int64)
    )


def to_bytes_with_mask(vector: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Writes the mask and the kept numbers, for whoever has neither.

    >>> kept = tf.constant([True, False, True])
    >>> payload = to_bytes_with_mask(tf.constant([1.0, 2.0, 3.0]), kept)
    >>> payload.numpy()[:2].tolist(), payload.shape[0]
    ([1, 5], 10)

    Args:
      vector: float32 [n].
      kept: The mask, bool [n].

    Returns:
      uint8: a byte, which is 1 if a number is left out; then in 8 bits for 8
      numbers which are kept; then the kept ones. Without gaps a byte, which is
      0, and all numbers.
    """
    head, mask = tf.cond(
        tf.reduce_all(kept),
        lambda: (_WHOLE, tf.zeros([0], tf.uint8)),
        lambda: (_MASKED, packing.pack(tf.cast(kept, tf.int32), 1)),
    )
    head = tf.reshape(tf.cast(head, tf.uint8), [1])
    return tf.concat([head, mask, to_bytes(vector, kept)], axis=0)


def from_bytes_with_mask(
    payload: tf.Tensor, dimension: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Undoes `to_bytes_with_mask`.

    Args:
      payload: uint8.
      dimension: n, the number of numbers.

    Returns:
      (the vector with zeros where nothing was sent, float32 [n]; the mask,
      bool [n]).
    """
    size = packing.num_packed(dimension, 1)
    kept, values = tf.cond(
        tf.equal(payload[0], _MASKED),
        lambda: (
            packing.unpack(payload[1 : 1 + size], dimension, 1) > 0,
            payload[1 + size :],
        ),
        lambda: (tf.ones([dimension], tf.bool), payload[1:]),
    )
    return from_bytes(values, kept), kept
