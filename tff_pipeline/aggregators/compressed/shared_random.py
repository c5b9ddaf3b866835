"""Sends the same random numbers of all clients' updates: a linear code.

In each round k of the d places of an update are drawn, uniformly, from a seed
and the round's number, which clients and server both have. A client sends what
stands there, times d / k; the server combines vectors of k numbers, and puts
the result back to its places, with zeros elsewhere:

    S(u)_j = (d / k) u_j if j is drawn, else 0;    E S(u) = u.

S is linear, so that it goes with sums of which the server sees nothing else
(`secure_mean`, `dp_distributed`, `he_mean`): these sum vectors of k numbers,
and become shorter by k / d. It needs no memory, for it is unbiased. But as all
clients share the places, their errors do not cancel: the error of the mean m is
(d / k - 1) |m|^2 in expectation, however many clients come, where places that
each client draws for itself divide it by some of their number (Konecny et al.
2016, "Federated Learning: Strategies for Improving Communication Efficiency",
section 3, subsampling). A server's learning rate of some k / d is for that.

It is the first step of a chain: what follows, such as a clip, sees k numbers
times d / k. A sensitivity that is bounded there holds, whatever was drawn.
"""

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import randomness
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.compressed.compressor import (
    CompressorContext,
    LinearCode,
    dimension_of,
    flattened,
    unflattened,
)
from tff_pipeline.config.compression import num_chosen


class SharedRandomK(LinearCode):
    """Selects numbers before an aggregation, which then sees vectors of k."""

    def __init__(self, fraction: float, seed: int):
        """Makes the code.

        Args:
          fraction: The share of all numbers that is sent.
          seed: The experiment's, from which places are drawn.
        """
        self._fraction, self._seed = fraction, seed

    def describe(self) -> str:
        """Describes the choice."""
        return (
            f"of which a random {100 * self._fraction:g}% of the numbers, the "
            "same for all clients of a round, are sent, times "
            f"{1 / self._fraction:g}"
        )

    def before(self, inner: Aggregation) -> Aggregation:
        """Puts the selection before an aggregation.

        Args:
          inner: The aggregation, with all its steps.

        Returns:
          One for whole updates, of which `inner` combines k numbers.
        """
        make: Any = SharedRandomKFactory
        if isinstance(
            inner.factory, tff.aggregators.UnweightedAggregationFactory
        ):
            make = UnweightedSharedRandomKFactory

        def sent_bytes(value_type: tff.Type, weight_type: tff.Type) -> int:
            chosen = _chosen_type(value_type, self._fraction)
            return inner.bytes_of(chosen, weight_type)

        return dataclasses.replace(
            inner,
            factory=make(inner.factory, self._fraction, self._seed),
            describe="; then ".join(
                filter(None, [self.describe(), inner.describe])
            ),
            sent_bytes=sent_bytes,
            rule=None,  # The step is the first of its chain.
        )


class _Selected:
    """Builds the process of both factories."""

    def __init__(self, inner: Any, fraction: float, seed: int):
        """Wraps a factory.

        Args:
          inner: The factory that combines the numbers that are sent.
          fraction: The share of all numbers that is sent.
          seed: The experiment's, from which places are drawn.
        """
        self._inner, self._fraction = inner, fraction
        draw = randomness.generator(seed, "shared places")
        self._key = int(draw.integers(2**62))

    def _process(
        self, value_type: tff.Type, *more: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process; `more` is the type of a weight, if there is one.

        Raises:
          TypeError: If a tensor is not of floats.
        """
        structure = tff.types.structure_from_tensor_type_tree(
            lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), value_type
        )
        specs = tf.nest.flatten(structure)
        if not all(spec.dtype.is_floating for spec in specs):
            raise TypeError(f"Updates must be of floats, not {value_type}.")
        dimension = dimension_of(specs)
        chosen_type = _chosen_type(value_type, self._fraction)
        (count,) = chosen_type.shape
        inner = self._inner.create(chosen_type, *more)
        scale = dimension / count

        @tff.tensorflow.computation(np.int64)
        def places_of(number: tf.Tensor) -> tf.Tensor:
            return places(self._key, number, count, dimension)

        @tff.tensorflow.computation(value_type, places_of.type_signature.result)
        def select(value: Any, where: tf.Tensor) -> tf.Tensor:
            vector = flattened(tf.nest.flatten(value))
            return scale * tf.gather(vector, where)

        @tff.tensorflow.computation(
            inner.next.type_signature.result.result.member,
            places_of.type_signature.result,
        )
        def scatter(chosen: tf.Tensor, where: tf.Tensor) -> Any:
            vector = tf.scatter_nd(where[:, tf.newaxis], chosen, [dimension])
            return tf.nest.pack_sequence_as(
                structure, unflattened(vector, specs)
            )

        @tff.tensorflow.computation(np.int64)
        def following(number: tf.Tensor) -> tf.Tensor:
            return number + 1

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_zip(
                collections.OrderedDict(
                    round=tff.federated_value(np.int64(0), tff.SERVER),
                    inner=inner.initialize(),
                )
            )

        def next_round(state: Any, value: Any, *weight: Any) -> Any:
            # Who has the seed and the number draws the places for itself: they
            # do not travel, and are drawn once here because it is faster.
            where = tff.federated_map(places_of, state["round"])
            chosen = tff.federated_map(
                select, (value, tff.federated_broadcast(where))
            )
            output = inner.next(state["inner"], chosen, *weight)
            after = collections.OrderedDict(
                round=tff.federated_map(following, state["round"]),
                inner=output.state,
            )
            return tff.templates.MeasuredProcessOutput(
                tff.federated_zip(after),
                tff.federated_map(scatter, (output.result, where)),
                output.measurements,
            )

        return _as_process(initialize, next_round, value_type, *more)


class SharedRandomKFactory(
    _Selected, tff.aggregators.WeightedAggregationFactory
):
    """Selects numbers before a factory that takes weights.

    The state has the number of the round, from 0, and that of the inner
    process. A round whose state is taken back draws the same places again.
    """

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float tensors.
          weight_type: The type of what the inner factory takes for a weight.

        Returns:
          A process whose result is like an update, and whose measurements are
          those of the inner one.

        Raises:
          TypeError: If a tensor is not of floats.
        """
        return self._process(value_type, weight_type)


class UnweightedSharedRandomKFactory(
    _Selected, tff.aggregators.UnweightedAggregationFactory
):
    """Selects numbers likewise, before a factory that takes no weights."""

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of an update, a structure of float tensors.

        Returns:
          A process whose result is like an update, and whose measurements are
          those of the inner one.

        Raises:
          TypeError: If a tensor is not of floats.
        """
        return self._process(value_type)


def places(
    key: int, number: tf.Tensor, count: int, dimension: int
) -> tf.Tensor:
    """Draws the places of a round, all subsets of that size equally likely.

    Places are sorted by 64 random bits each, of which two are the same with a
    probability below dimension**2 / 2**65.

    Args:
      key: A number that follows from the seed, below 2**62.
      number: The number of the round, an int64 scalar.
      count: How many places to draw.
      dimension: The number of places.

    Returns:
      int32 [count], ascending.
    """
    draws = tf.random.stateless_uniform(
        [dimension],
        tf.stack([tf.constant(key, tf.int64), number]),
        minval=None,
        maxval=None,
        dtype=tf.int64,
    )
    return tf.sort(tf.argsort(draws)[:count])


def shared_random_k(context: CompressorContext) -> SharedRandomK:
    """Makes the code of `--compression=shared_random_k`.

    Args:
      context: Has the share of the numbers, and the seed.
    """
    assert context.config.fraction is not None  # `config` sees to it.
    return SharedRandomK(context.config.fraction, context.seed)


def _chosen_type(value_type: tff.Type, fraction: float) -> tff.TensorType:
    """Returns the type of what is sent of an update."""
    sizes = [
        math.prod(leaf.shape) for leaf in tff.structure.flatten(value_type)
    ]
    return tff.TensorType(np.float32, [num_chosen(fraction, sum(sizes))])


def _as_process(
    initialize: tff.Computation,
    next_round: Callable[..., Any],
    value_type: tff.Type,
    *more: tff.Type,
) -> tff.templates.AggregationProcess:
    """Makes the process of a function that takes state, values and weights."""
    types = [
        initialize.type_signature.result,
        *(tff.FederatedType(kind, tff.CLIENTS) for kind in (value_type, *more)),
    ]
    if more:

        @tff.federated_computation(*types)
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            return next_round(state, value, weight)

    else:

        @tff.federated_computation(*types)
        def next_fn(state: Any, value: Any) -> Any:
            return next_round(state, value)

    return tff.templates.AggregationProcess(initialize, next_fn)
