"""The beginning of a client's payload: its weight, or the tag in its place."""

from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.collect import TAG
from tff_pipeline.aggregators.compressed import packing


def size(tagged: bool) -> int:
    """Returns the number of its bytes.

    >>> size(tagged=False), size(tagged=True)
    (4, 20)

    Args:
      tagged: True if clients send a tag in place of a weight.
    """
    return sum(kind.size for kind in _kinds(tagged))


def joined(weight: Any, rest: tf.Tensor, tagged: bool) -> tf.Tensor:
    """Puts the weight, or the tag, before the rest of a payload.

    Args:
      weight: The weight of the client, a scalar, or its tag.
      rest: uint8 [n].
      tagged: True if it is a tag.

    Returns:
      uint8.
    """
    if not tagged:
        weight = tf.cast(weight, tf.float32)
    head = map(packing.to_bytes, tf.nest.flatten(weight))
    return tf.concat([*head, rest], 0)


def parted(payload: tf.Tensor, tagged: bool) -> tuple[Any, tf.Tensor]:
    """Undoes `joined`.

    Args:
      payload: uint8.
      tagged: True if it has a tag.

    Returns:
      (the weight, float32, or the tag; the rest, uint8).
    """
    kinds = _kinds(tagged)
    *head, rest = packing.split(payload, [kind.size for kind in kinds])
    weight = tf.nest.pack_sequence_as(
        TAG if tagged else np.float32,
        list(map(packing.from_bytes, head, kinds)),
    )
    return weight, rest


def _kinds(tagged: bool) -> list[tf.DType]:
    kinds = tf.nest.flatten(TAG if tagged else np.float32)
    return list(map(tf.as_dtype, kinds))
