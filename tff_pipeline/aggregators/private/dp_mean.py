"""Averages clipped updates with Gaussian noise on their sum.

McMahan et al. 2018, "Learning Differentially Private Recurrent Language
Models": sum the updates, each cut to the clip's norm, add noise of the noise
multiplier times the clip, and divide by the number of clients that is expected.
A divisor that depends on who came, or on how many examples they have, would
undo what the clip bounds; every client counts the same.
"""

import collections
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.noise import FreshNoise, Noise, Specs

Array = npt.NDArray[Any]


class DpMeanFactory(tff.aggregators.UnweightedAggregationFactory):
    """Averages with a clip that stays as it is."""

    def __init__(
        self,
        bound: float,
        noise_multiplier: float,
        expected_clients: float,
        noise: Noise,
    ):
        """Makes the factory.

        Args:
          bound: The clip, the largest L2 norm of an update that counts whole.
          noise_multiplier: Standard deviation of the sum's noise over the clip;
            0 is none.
          expected_clients: The number by which the sum is divided.
          noise: The noise of each round, in units of the noise multiplier times
            the clip.
        """
        self._bound = bound
        self._stddev = noise_multiplier * bound
        self._expected_clients = expected_clients
        self._noise = noise

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float32 tensors.

        Returns:
          A process whose state is the noise's and whose result is the mean.

        Raises:
          TypeError: If a tensor is not float32.
        """
        specs = specs_of(value_type)

        @tff.tensorflow.computation
        def begin() -> Any:
            return self._noise.initialize(specs)

        @tff.tensorflow.computation(value_type)
        def clipped(update: Any) -> Any:
            return clip(update, tf.constant(self._bound, tf.float32))[0]

        @tff.tensorflow.computation(begin.type_signature.result, value_type)
        def finish(state: Any, total: Any) -> Any:
            mean = tf.nest.flatten(total)
            if self._stddev:
                noise, state = self._noise.next(state, specs)
                mean = [a + self._stddev * b for a, b in zip(mean, noise)]
            mean = [value / self._expected_clients for value in mean]
            return tf.nest.pack_sequence_as(total, mean), state

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_eval(begin, tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any) -> Any:
            total = tff.federated_sum(tff.federated_map(clipped, value))
            mean, state = tff.federated_map(finish, (state, total))
            return tff.templates.MeasuredProcessOutput(
                state, mean, tff.federated_value((), tff.SERVER)
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


class AdaptiveDpMeanFactory(tff.aggregators.UnweightedAggregationFactory):
    """Averages with a clip that follows a quantile of the updates' norms.

    Andrew et al. 2021, "Differentially Private Learning with Adaptive
    Clipping", algorithm 1: clients also send whether their norm is within the
    clip, and a noisy count of these moves the clip after the round. A round's
    noise is in proportion to the clip of that round.
    """

    def __init__(
        self,
        noise_multiplier: float,
        count_stddev: float,
        expected_clients: float,
        key: Array,
        initial_bound: float = 0.1,
        quantile: float = 0.5,
        learning_rate: float = 0.2,
    ):
        """Makes the factory.

        Args:
          noise_multiplier: The noise multiplier of updates and count together.
          count_stddev: Standard deviation of the count's noise, in clients.
          expected_clients: The number by which sums are divided.
          key: The secret of the noise, int64 [2].
          initial_bound: The first clip.
          quantile: The share of clients whose norm the clip should reach.
          learning_rate: The most that the clip's logarithm moves in a round.

        Raises:
          ValueError: As `update_noise_multiplier`.
        """
        self._multiplier = update_noise_multiplier(
            noise_multiplier, count_stddev
        )
        self._count_stddev = count_stddev
        self._expected_clients = expected_clients
        # Of the updates and, as one more coordinate, of the count.
        self._noise = FreshNoise(key)
        self._initial_bound = initial_bound
        self._quantile = quantile
        self._learning_rate = learning_rate

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float32 tensors.

        Returns:
          A process whose state has `clip` and `noise`, whose result is the mean
          and whose measurement `clip` is the round's.

        Raises:
          TypeError: If a tensor is not float32.
        """
        specs = specs_of(value_type)
        with_count = [*specs, tf.TensorSpec([], tf.float32)]

        @tff.tensorflow.computation
        def begin() -> Any:
            return collections.OrderedDict(
                clip=tf.constant(self._initial_bound, tf.float32),
                noise=self._noise.initialize(with_count),
            )

        state_type = begin.type_signature.result

        @tff.tensorflow.computation(value_type, np.float32)
        def clipped(update: Any, bound: tf.Tensor) -> Any:
            update, norm = clip(update, bound)
            within = norm <= tf.cast(bound, norm.dtype)
            # Half a client more or less, so that one moves it by a half.
            return update, tf.cast(within, tf.float32) - 0.5

        @tff.tensorflow.computation(state_type, value_type, np.float32)
        def finish(state: Any, total: Any, count: tf.Tensor) -> Any:
            flat, bound = tf.nest.flatten(total), state["clip"]
            noise = [tf.zeros_like(value) for value in [*flat, count]]
            after = state["noise"]
            if self._multiplier:
                noise, after = self._noise.next(after, with_count)
            stddev = self._multiplier * bound
            mean = [
                (value + stddev * drawn) / self._expected_clients
                for value, drawn in zip(flat, noise)
            ]
            count += self._count_stddev * noise[-1]
            within = count / self._expected_clients + 0.5
            factor = tf.exp(self._learning_rate * (self._quantile - within))
            state = collections.OrderedDict(clip=bound * factor, noise=after)
            return tf.nest.pack_sequence_as(total, mean), state

        @tff.tensorflow.computation(state_type)
        def bound_of(state: Any) -> tf.Tensor:
            return state["clip"]

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_eval(begin, tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any) -> Any:
            bound = tff.federated_map(bound_of, state)
            updates, within = tff.federated_map(
                clipped, (value, tff.federated_broadcast(bound))
            )
            mean, state = tff.federated_map(
                finish,
                (state, tff.federated_sum(updates), tff.federated_sum(within)),
            )
            return tff.templates.MeasuredProcessOutput(
                state,
                mean,
                tff.federated_zip(collections.OrderedDict(clip=bound)),
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


def update_noise_multiplier(
    noise_multiplier: float, count_stddev: float
) -> float:
    """Returns the noise multiplier of updates beside a noisy count.

    Together with the count's noise it gives `noise_multiplier` (Andrew et al.
    2021, theorem 1): z_delta = (z^-2 - (2 sigma_b)^-2)^-1/2.

    >>> round(update_noise_multiplier(1.0, 5.0), 6)
    1.005038

    Args:
      noise_multiplier: The noise multiplier of updates and count together.
      count_stddev: Standard deviation sigma_b of the count's noise, in clients.

    Raises:
      ValueError: If the count's noise alone allows no such noise multiplier.
    """
    if not noise_multiplier:
        return 0.0
    rest = noise_multiplier**-2 - (2 * count_stddev) ** -2
    if rest <= 0:
        raise ValueError(
            f"A count's noise of {count_stddev} is too little for a noise "
            f"multiplier of {noise_multiplier}: it must be above half of that."
        )
    return float(rest**-0.5)


def specs_of(value_type: tff.Type) -> Specs:
    """Lists the tensors of a type in the order of `tf.nest`.

    Args:
      value_type: A structure of float32 tensors.

    Raises:
      TypeError: If one is not float32.
    """
    specs = tf.nest.flatten(
        tff.types.structure_from_tensor_type_tree(
            lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
        )
    )
    if any(spec.dtype != tf.float32 for spec in specs):
        raise TypeError(f"Only float32 can have noise, not {value_type}.")
    return specs
