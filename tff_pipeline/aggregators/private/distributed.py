"""Averages clipped updates to which the clients themselves add noise.

Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for
Federated Learning with Secure Aggregation", algorithms 1 and 2: a client clips
its update, rotates it so that no coordinate is large, rounds it to integers,
adds its share of the noise and sends the result modulo 2^bits; the server
undoes on the sum what can be undone. The sum is a secure modular sum: under a
protocol (--secure_aggregation=bonawitz) the server sees nothing else; without
one it is added in the open, which gives the same numbers.

`discrete_mechanism` has the formulas and the accounting, which trusts in the
protocol and in the clients: with each that stays away, or leaves out its noise,
the sum has less of it. In this simulation the clients draw from one key, which
stands for the secrets that each would have.
"""

import functools
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.private.discrete_mechanism import Mechanism
from tff_pipeline.aggregators.private.dp_mean import specs_of
from tff_pipeline.aggregators.private.integers import decode, encode

Array = npt.NDArray[Any]


class _Mean:
    """Does the work of clients and server for both factories."""

    def __init__(
        self,
        bound: float,
        noise_multiplier: float,
        expected_clients: int,
        key: Array,
        bits: int = Mechanism.bits,
        beta: float = Mechanism.beta,
        modular_clips: float = Mechanism.modular_clips,
    ):
        """Makes the factory.

        Args:
          bound: The clip, the largest L2 norm of an update that counts whole.
          noise_multiplier: Standard deviation of the sum's noise over the clip
            if `expected_clients` come; 0 is none.
          expected_clients: The count of clients that share the noise, by which
            the sum is divided. With no clients the mean is zeros, without
            noise.
          key: The secret of noise and rounding, int64 [2].
          bits: The size of a number that is sent, at most 30.
          beta: The largest probability with which a rounding is too long and
            drawn again; 0 bounds it so loosely that none is.
          modular_clips: Standard deviations from 0 to where sums wrap around.
        """
        self._key = np.asarray(key, np.int64)
        self._mechanism_of = functools.partial(
            Mechanism,
            noise_multiplier,
            bound,
            expected_clients=expected_clients,
            bits=bits,
            beta=beta,
            modular_clips=modular_clips,
        )

    def _process(
        self, value_type: tff.Type, number_type: Optional[tff.Type]
    ) -> tff.templates.AggregationProcess:
        """Builds the process; without `number_type` clients draw numbers."""
        specs = specs_of(value_type)
        mechanism = self._mechanism_of(
            dimension=sum(spec.shape.num_elements() for spec in specs)
        )
        mechanism.check()

        @tff.tensorflow.computation(np.int64, value_type)
        def drawn_and_sent(number_of_round: tf.Tensor, update: Any) -> Any:
            # Unseeded, and so another on every client.
            number = tf.random.uniform([], maxval=2**62, dtype=tf.int64)
            return encode(mechanism, self._key, number_of_round, number, update)

        @tff.tensorflow.computation(np.int64, value_type, np.int64)
        def sent(
            number_of_round: tf.Tensor, update: Any, number: tf.Tensor
        ) -> Any:
            return encode(mechanism, self._key, number_of_round, number, update)

        @tff.tensorflow.computation(np.int64, sent.type_signature.result)
        def finish(number_of_round: tf.Tensor, total: tf.Tensor) -> Any:
            mean = decode(mechanism, number_of_round, total, specs)
            structure = tff.types.structure_from_tensor_type_tree(
                lambda leaf: None, value_type
            )
            return (
                tf.nest.pack_sequence_as(structure, mean),
                number_of_round + 1,
            )

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_value(np.int64(0), tff.SERVER)

        def next_round(state: Any, value: Any, client: Any, *more: Any) -> Any:
            everywhere = tff.federated_broadcast(state)
            integers = tff.federated_map(client, (everywhere, value, *more))
            total = tff.backends.mapreduce.federated_secure_modular_sum(
                integers, np.int64(mechanism.modulus)
            )
            mean, state = tff.federated_map(finish, (state, total))
            return tff.templates.MeasuredProcessOutput(
                state, mean, tff.federated_value((), tff.SERVER)
            )

        types = [
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        ]
        if number_type is None:

            @tff.federated_computation(*types)
            def next_fn(state: Any, value: Any) -> Any:
                return next_round(state, value, drawn_and_sent)

        else:

            @tff.federated_computation(
                *types, tff.FederatedType(number_type, tff.CLIENTS)
            )
            def next_fn(state: Any, value: Any, number: Any) -> Any:
                return next_round(state, value, sent, number)

        return tff.templates.AggregationProcess(initialize, next_fn)


class DistributedDpMeanFactory(
    _Mean, tff.aggregators.UnweightedAggregationFactory
):
    """Averages clipped updates with noise of the clients.

    Each client draws a number of 62 bits, unseeded, that makes its noise its
    own; that nobody can compute it is due to the key. A round that is run again
    has other noise, and both releases count.
    """

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float32 tensors.

        Returns:
          A process whose state is the round's number and whose result is the
          mean.

        Raises:
          TypeError: If a tensor is not float32.
          ValueError: If more bits are needed; the sentence says how many.
        """
        return self._process(value_type, None)


class NumberedDistributedDpMeanFactory(
    _Mean, tff.aggregators.WeightedAggregationFactory
):
    """Averages likewise, with clients that are told their numbers.

    In the place of a weight there is an int64 that no other client of any round
    has, nor one whose update was dropped. The mean is then a function of
    updates and numbers: the same bits for any number of threads, and again for
    a round that is run again.
    """

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float32 tensors.
          weight_type: The type of a client's number, an int64.

        Returns:
          A process whose state is the round's number and whose result is the
          mean.

        Raises:
          TypeError: If the types are others.
          ValueError: If more bits are needed; the sentence says how many.
        """
        if weight_type != tff.TensorType(np.int64):
            raise TypeError(
                f"A client's number is an int64, not {weight_type}."
            )
        return self._process(value_type, weight_type)
