"""Sums of clients' metrics by secure sums: numbers with 20 binary places.

A server that sees no client's update must see no client's number of examples,
loss or rejection either. A number is rounded to a multiple of 2^-20 and sent
modulo 2^62; sums are exact up to that rounding, of up to 2^41 in size. Whole
numbers are exact.
"""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

_PER_ONE = 2.0**20
_MODULUS = 2**62
# Larger numbers are cut to it, so that no conversion overflows.
_LARGEST = 2.0**40


def secure_sum(value: Any) -> Any:
    """Sums up clients' values, inside a federated computation.

    Args:
      value: A structure of numbers at the clients, in size at most 2^40; what
        is not finite counts as 0.

    Returns:
      Their sum at the server, of the same type.
    """
    kind = value.type_signature.member
    specs = tff.types.structure_from_tensor_type_tree(
        lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), kind
    )
    flat = tf.nest.flatten(specs)

    @tff.tensorflow.computation(kind)
    def encode(value: Any) -> tf.Tensor:
        return tf.concat(
            [tf.reshape(_encoded(leaf), [-1]) for leaf in _leaves(value)],
            axis=0,
        )

    @tff.tensorflow.computation(encode.type_signature.result)
    def decode(total: tf.Tensor) -> Any:
        half = _MODULUS // 2
        signed = tf.bitwise.bitwise_and(total + half, _MODULUS - 1) - half
        parts = tf.split(signed, [spec.shape.num_elements() for spec in flat])
        return tf.nest.pack_sequence_as(
            specs, [_decoded(part, spec) for part, spec in zip(parts, flat)]
        )

    total = tff.backends.mapreduce.federated_secure_modular_sum(
        tff.federated_map(encode, value), np.int64(_MODULUS)
    )
    return tff.federated_map(decode, total)


def _leaves(value: Any) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(value)]


def _encoded(leaf: tf.Tensor) -> tf.Tensor:
    if not leaf.dtype.is_floating:
        return tf.cast(leaf, tf.int64)
    number = tf.cast(leaf, tf.float64)
    number = tf.where(tf.math.is_finite(number), number, tf.zeros_like(number))
    number = tf.clip_by_value(number, -_LARGEST, _LARGEST)
    return tf.cast(tf.round(number * _PER_ONE), tf.int64)


def _decoded(total: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    total = tf.reshape(total, spec.shape)
    if spec.dtype.is_floating:
        total = tf.cast(total, tf.float64) / _PER_ONE
    return tf.cast(total, spec.dtype)
