"""Averages messages that the server adds up without being able to read them.

A client multiplies its update by its weight, puts the weight behind it as one
more number, rounds all to a grid of 2^-22 and encrypts it (`ckks`). The server
adds ciphertexts. The key holder decrypts the sum, which the server then divides
by the sum of weights: it learns both, and of no client alone.

The sum of integers that comes out is exact, whatever noise the encryption drew:
the mean has the same bits when a round is run again, and is off from the mean
of real numbers by at most 2^-23 over the average weight.

In this simulation one process plays all three parties, which hand each other
bytes. Who is the key holder where they are apart is for whoever deploys them to
decide; see `ckks` on what it can do.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators import outside_graph
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.encrypted import ckks

# The grid of what is added, for weights of about 1 and above.
_STEP = 2.0**-22
# A client's largest number, in steps; a quarter of what sums have room for.
_LARGEST = ckks.LARGEST_SUM / 4
_TOO_LARGE = "too_large_updates"


def he_mean(_: AggregationContext) -> Aggregation:
    """Averages encrypted messages by the weights inside them.

    Args:
      _: Not used; every entry of `registry.AGGREGATORS` takes a context.

    Returns:
      An aggregation that measures `bytes_up`, the bytes that a client's
      ciphertexts take on average, and has the column `too_large_updates`, the
      number of clients that did not count because a number of their update
      times their weight is 2^22 or above.

    Raises:
      ConfigError: If TenSEAL is not installed.
    """

    def measure(measurements: Any) -> Mapping[str, float]:
        clients = max(int(measurements["clients"]), 1)
        return {
            "bytes_up": round(int(measurements["bytes"]) / clients),
            _TOO_LARGE: int(measurements["too_large"]),
        }

    return Aggregation(
        EncryptedMeanFactory(),
        columns=(_TOO_LARGE,),
        measure=measure,
        hides_clients=True,
        describe="encrypted together, for the holder of the secret key alone",
    )


class EncryptedMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Weighted mean under CKKS encryption, on the in-process runtime alone.

    Its types say who sees what: a message at a client and an accumulator at
    the server are strings, the bytes of ciphertexts.
    """

    def __init__(self) -> None:
        """Draws a pair of keys.

        Raises:
          ConfigError: If TenSEAL is not installed.
        """
        self._key_holder = ckks.KeyHolder()
        public = self._key_holder.public_context
        self._client, self._server = ckks.Client(public), ckks.Server(public)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of a client's value, a structure of tensors of
            floats.
          weight_type: The type of its weight, a number that is 0 or above.

        Returns:
          A process without state whose result is the weighted mean, NaN if no
          client counts. Measurements: `clients`, those that came; `too_large`,
          those of them that do not count because they do not fit the grid;
          `bytes`, of all ciphertexts.
        """
        structure = tff.types.structure_from_tensor_type_tree(
            lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
        )
        specs = tf.nest.flatten(structure)
        sizes = [spec.shape.num_elements() for spec in specs]
        count = sum(sizes) + 3  # Weight, one that is too large, one that came.
        client, server, holder = self._client, self._server, self._key_holder
        message = tf.TensorSpec([], tf.string)

        @tff.tensorflow.computation(value_type, weight_type)
        def encrypted(value: Any, weight: tf.Tensor) -> tf.Tensor:
            steps = _in_steps(tf.nest.flatten(value), weight)
            return outside_graph.call(client.encrypt, [steps], message)

        @tff.tensorflow.computation
        def nothing() -> tf.Tensor:
            return tf.constant(b"")

        @tff.tensorflow.computation(np.str_, np.str_)
        def add(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
            return outside_graph.call(server.add, [one, other], message)

        @tff.tensorflow.computation(np.str_)
        def same(total: tf.Tensor) -> tf.Tensor:
            return tf.identity(total)

        def of_sum(total: bytes) -> Any:
            return holder.decrypt(total) if total else np.zeros(count, np.int64)

        @tff.tensorflow.computation(np.str_)
        def decrypted(total: tf.Tensor) -> tf.Tensor:
            spec = tf.TensorSpec([count], tf.int64)
            return outside_graph.call(of_sum, [total], spec)

        @tff.tensorflow.computation(decrypted.type_signature.result, np.int64)
        def finish(total: tf.Tensor, size: tf.Tensor) -> Any:
            *parts, weight, too_large, clients = tf.split(
                total, [*sizes, 1, 1, 1]
            )
            weight = tf.cast(weight[0], tf.float64)
            mean = [
                tf.cast(
                    tf.reshape(tf.cast(part, tf.float64) / weight, spec.shape),
                    spec.dtype,
                )
                for part, spec in zip(parts, specs)
            ]
            measured = collections.OrderedDict(
                clients=clients[0], too_large=too_large[0], bytes=size
            )
            return tf.nest.pack_sequence_as(structure, mean), measured

        @tff.tensorflow.computation(np.str_)
        def length(each: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.strings.length(each), tf.int64)

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            messages = tff.federated_map(encrypted, (value, weight))
            total = tff.federated_aggregate(messages, nothing(), add, add, same)
            size = tff.federated_sum(tff.federated_map(length, messages))
            mean, measured = tff.federated_map(
                finish, (tff.federated_map(decrypted, total), size)
            )
            return tff.templates.MeasuredProcessOutput(state, mean, measured)

        return tff.templates.AggregationProcess(initialize, next_fn)


def _in_steps(parts: list[tf.Tensor], weight: tf.Tensor) -> tf.Tensor:
    """Computes the whole numbers that a client encrypts, float64 [count]."""
    flat = [tf.reshape(tf.cast(part, tf.float64), [-1]) for part in parts]
    of_weight = tf.round(tf.cast(weight, tf.float64) / _STEP)
    # By the weight as it is sent, so that both are of the same client.
    steps = tf.round(tf.concat(flat, axis=0) * of_weight)
    numbers = tf.concat([steps, of_weight[tf.newaxis]], axis=0)
    # Not a number is not below it either.
    fits = tf.reduce_all(tf.abs(numbers) < _LARGEST)
    numbers = tf.where(fits, numbers, tf.zeros_like(numbers))
    too_large = tf.cast(~fits, tf.float64)
    return tf.concat([numbers, [too_large, 1.0]], axis=0)
