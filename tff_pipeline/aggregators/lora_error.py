"""Measures what is lost by averaging the factors of LoRA modules.

A client's module changes its matrix by B_k A_k. FedIT (Zhang et al. 2024)
averages the factors, and mean(B_k) mean(A_k) is not mean(B_k A_k), the update
that federated averaging of the matrices themselves would make (Sun et al. 2024,
"Improving LoRA in Privacy-preserving Federated Learning", section 3). With the
factors A and B before the round and what client k sends, a_k = A - A_k and
b_k = B - B_k, the linear terms cancel in

    mean(B_k A_k) - mean(B_k) mean(A_k) = mean(b_k a_k) - mean(b_k) mean(a_k)
    mean(B_k A_k) - B A = mean(b_k a_k) - B mean(a_k) - mean(b_k) A

and the column `lora_mean_error` is the Frobenius norm of the first over that of
the second, over all modules together: 0 if the mean is exact, and about 1 if
what is lost is as large as what should have been learned.

The means of b_k a_k are taken by the server, from the messages that it gets in
any case: nothing else leaves a client. They are sums, so the memory does not
grow with the cohort. They are as large as the adapted matrices; where that is
much, the norms are estimated from products with the same few random vectors,
whose mean square is the squared norm (Hutchinson 1990).
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import Aggregation

COLUMN = "lora_mean_error"
# (Place of A [..., rank, inputs], place of B [..., outputs, rank]) in the
# trainable weights; more axes are of more modules.
Pair = tuple[int, int]

# The size up to which products are kept whole, 60 modules of SmolLM2-135M.
_MOST_BYTES = 1 << 26
# The number of random vectors a module, and what they are drawn from. With
# sixty modules of rank 8 the column is off by 1 %.
_NUM_PROBES = 16
_SEED = 16


def with_lora_error(
    aggregation: Aggregation, pairs: Sequence[Pair]
) -> Aggregation:
    """Adds the column `lora_mean_error` to a weighted mean of LoRA factors.

    Args:
      aggregation: The aggregation of the run, with all its steps. Where steps
        change messages, as `clip` does, the column is about the messages before
        them.
      pairs: The places of A and B of each module among the model's trainable
        weights. They must come from the weights' names: a module's factors can
        be of the same shape.

    Returns:
      The aggregation with the column. One with a privacy plan is returned as it
      is, for the column would tell of clients without noise; so is one that
      counts all clients the same or takes their rows, which is no weighted
      mean.
    """
    factory = aggregation.factory
    if (
        aggregation.plan is not None
        or aggregation.tagged
        or not isinstance(factory, tff.aggregators.WeightedAggregationFactory)
    ):
        return aggregation
    assert aggregation.complete is None
    error = LoraErrorFactory(factory, pairs)

    def complete(weights: Sequence[Any], measurements: Any) -> Any:
        return collections.OrderedDict(
            inner=measurements["inner"],
            error=relative_error(weights, measurements["means"], pairs),
        )

    def measure(measurements: Any) -> Mapping[str, float]:
        columns = dict(aggregation.measure(measurements["inner"]))
        # An algorithm of a user's own need not call `complete`.
        if math.isfinite(measurements.get("error", math.nan)):
            columns[COLUMN] = measurements["error"]
        return columns

    return dataclasses.replace(
        aggregation,
        factory=error,
        columns=(COLUMN, *aggregation.columns),
        measure=measure,
        complete=complete,
    )


class LoraErrorFactory(tff.aggregators.WeightedAggregationFactory):
    """Aggregates as another factory, and averages the products of factors too.

    The measurements are `inner`, those of the other factory, and `means`: the
    weighted means of the clients' `a` and `b`, and of their `product` b a, or
    of b a z with random vectors z [inputs, vectors].
    """

    def __init__(
        self,
        inner: tff.aggregators.WeightedAggregationFactory,
        pairs: Sequence[Pair],
        most_bytes: int = _MOST_BYTES,
    ):
        """Wraps a factory.

        Args:
          inner: The factory whose results are returned.
          pairs: The places of A and B of each module in the model delta.
          most_bytes: The size of all products together up to which they are
            kept whole; above it, random vectors are used.
        """
        self._inner = inner
        self._pairs = pairs
        self._most_bytes = most_bytes

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Builds the process.

        Args:
          value_type: The type of a client's message: a list, the model delta,
            or a structure that has it as `update`.
          weight_type: The type of its weight, a number.

        Raises:
          ValueError: If a pair of places is not that of two factors.
        """
        inner = self._inner.create(value_type, weight_type)
        extended = tff.structure.has_field(value_type, "update")
        delta_type = value_type["update"] if extended else value_type
        shapes = _shapes(delta_type, self._pairs)
        size = sum(math.prod(b[:-1]) * a[-1] for a, b in shapes)
        whole = 4 * size <= self._most_bytes
        widths = [
            a[-1] if whole else min(a[-1], _NUM_PROBES) for a, _ in shapes
        ]
        pairs = self._pairs

        @tff.tensorflow.computation
        def zero() -> Any:
            return _no_sums(shapes, widths)

        sums_type = zero.type_signature.result

        @tff.tensorflow.computation(
            sums_type, tff.to_type([value_type, weight_type])
        )
        def accumulate(sums: Any, client: Any) -> Any:
            value, weight = client[0], tf.cast(client[1], tf.float32)
            delta = tf.nest.flatten(value["update"] if extended else value)
            return _added(sums, delta, weight, pairs)

        @tff.tensorflow.computation(sums_type, sums_type)
        def merge(one: Any, other: Any) -> Any:
            return tf.nest.map_structure(tf.add, one, other)

        @tff.tensorflow.computation(sums_type)
        def report(sums: Any) -> Any:
            weight = sums.pop("weight")
            return tf.nest.map_structure(lambda total: total / weight, sums)

        @tff.federated_computation(
            inner.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state: Any, value: Any, weight: Any) -> Any:
            output = inner.next(state, value, weight)
            means = tff.federated_aggregate(
                tff.federated_zip((value, weight)),
                zero(),
                accumulate,
                merge,
                report,
            )
            return tff.templates.MeasuredProcessOutput(
                output.state,
                output.result,
                tff.federated_zip(
                    collections.OrderedDict(
                        inner=output.measurements, means=means
                    )
                ),
            )

        return tff.templates.AggregationProcess(inner.initialize, next_fn)


def _shapes(
    delta_type: tff.Type, pairs: Sequence[Pair]
) -> list[tuple[list[int], list[int]]]:
    """Returns the shapes of each module's factors, and checks the pairs."""
    leaves = tff.structure.flatten(delta_type)
    shapes = []
    for pair in pairs:
        a, b = (
            list(leaves[place].shape) if 0 <= place < len(leaves) else []
            for place in pair
        )
        if len(a) < 2 or a[:-2] != b[:-2] or a[-2:-1] != b[-1:]:
            raise ValueError(
                f"The weights {pair} of {len(leaves)} have the shapes {a} and "
                f"{b}, and LoRA factors have [..., rank, inputs] and [..., "
                "outputs, rank]; give their places in the trainable weights."
            )
        shapes.append((a, b))
    return shapes


def _no_sums(
    shapes: Sequence[tuple[Sequence[int], Sequence[int]]],
    widths: Sequence[int],
) -> Any:
    """Returns the sums of no clients."""
    return collections.OrderedDict(
        weight=tf.constant(0.0),
        a=[tf.zeros(a) for a, _ in shapes],
        b=[tf.zeros(b) for _, b in shapes],
        product=[
            tf.zeros([*b[:-1], width]) for (_, b), width in zip(shapes, widths)
        ],
    )


def _added(
    sums: Any, delta: Sequence[Any], weight: Any, pairs: Sequence[Pair]
) -> Any:
    """Adds a client's factors and their products to sums, by its weight."""
    a = [delta[place] for place, _ in pairs]
    b = [delta[place] for _, place in pairs]
    product = [
        each_b @ _seen(number, each_a, total.shape[-1])
        for number, (each_a, each_b, total) in enumerate(
            zip(a, b, sums["product"])
        )
    ]
    factors = {"a": a, "b": b, "product": product}
    return collections.OrderedDict(
        weight=sums["weight"] + weight,
        **{
            name: [
                total + weight * each for total, each in zip(sums[name], values)
            ]
            for name, values in factors.items()
        },
    )


def _seen(number: int, factor: Any, width: int) -> Any:
    """Multiplies a factor [..., rows, inputs] by random vectors.

    A factor of no more inputs than the `width` columns of the result is
    returned as it is.
    """
    inputs = factor.shape[-1]
    if inputs <= width:
        return factor
    probes = tf.random.stateless_normal([inputs, width], [_SEED, number])
    return tf.matmul(tf.cast(factor, tf.float32), probes)


def relative_error(
    weights: Sequence[npt.NDArray[Any]],
    means: Mapping[str, Sequence[npt.NDArray[Any]]],
    pairs: Sequence[Pair],
) -> float:
    """Computes the error of the mean of factors from what the server knows.

    Args:
      weights: The model's trainable weights before the round.
      means: The `means` of `LoraErrorFactory`'s measurements.
      pairs: The places of A and B of each module in the weights.

    Returns:
      The norm of what is lost over that of the exact update; NaN if that is 0,
      or there were no clients.
    """
    lost = update = 0.0
    for number, (place_a, place_b) in enumerate(pairs):
        product = np.asarray(means["product"][number], np.float64)
        before_b = np.asarray(weights[place_b], np.float64)
        mean_b = np.asarray(means["b"][number], np.float64)
        before_a, mean_a = (
            np.asarray(_seen(number, factor, product.shape[-1]), np.float64)
            for factor in (weights[place_a], means["a"][number])
        )
        lost += float(np.square(product - mean_b @ mean_a).sum())
        exact = product - before_b @ mean_a - mean_b @ before_a
        update += float(np.square(exact).sum())
    return math.sqrt(lost / update) if update else math.nan
