"""A cohort is folded in fixed shards, merged as a chain in their order."""

import collections
import functools

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import strategies as st

from tff_pipeline.runtime import reductions, shards
from tff_pipeline.runtime.in_process import InProcessContext

WIDTH = 5
VECTOR = tff.TensorType(np.float32, [WIDTH])
# One client, one shard, one more than that, two shards and one more.
SIZES = (1, 4, 5, 9)


def vectors(count, seed=0):
    """Numbers of very different sizes, whose sums depend on their order."""
    draw = np.random.default_rng(seed)
    sizes = 10.0 ** draw.integers(-4, 4, size=[count, WIDTH])
    return list((draw.normal(size=[count, WIDTH]) * sizes).astype(np.float32))


def chain(values, clients_per_shard, add=np.add):
    """((s0 + s1) + s2) + ..., each shard folded on its own."""
    parts = [
        functools.reduce(add, values[start : start + clients_per_shard])
        for start in range(0, len(values), clients_per_shard)
    ]
    return functools.reduce(add, parts)


@tff.federated_computation(
    tff.FederatedType(VECTOR, tff.CLIENTS),
    tff.FederatedType(np.float32, tff.CLIENTS),
)
def reduce_all_ways(values, weights):
    return (
        tff.federated_sum(values),
        tff.federated_mean(values),
        tff.federated_mean(values, weights),
        tff.federated_min(values),
        tff.federated_max(values),
    )


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("clients_per_shard", [1, 4, 100])
def test_reductions_are_chains_of_shards_for_any_threads(
    count, clients_per_shard
):
    values = vectors(count)
    # Powers of two, so that products are exact.
    weights = [np.float32(2.0 ** (i % 3)) for i in range(count)]
    weighted = [w * v for w, v in zip(weights, values)]
    fold = functools.partial(chain, clients_per_shard=clients_per_shard)
    expected = (
        fold(values),
        fold(values) / np.float32(count),
        fold(weighted) / np.float32(sum(weights)),
        np.min(values, axis=0),
        np.max(values, axis=0),
    )
    for threads in (1, 2, 5):
        with InProcessContext(threads, clients_per_shard):
            results = reduce_all_ways(values, weights)
        for result, by_hand in zip(results, expected):
            np.testing.assert_array_equal(result, by_hand)


def test_the_number_of_clients_in_a_shard_decides_the_last_bits():
    values = vectors(9)
    sums = {
        size: chain(values, clients_per_shard=size).tobytes()
        for size in (1, 2, 4, 9)
    }
    # Shards of one are the plain fold; so is one shard.
    assert sums[1] == sums[9]
    assert len(set(sums.values())) == 3


def test_arguments_are_left_alone():
    values = vectors(9)
    copies = [np.array(value) for value in values]
    with InProcessContext(2):
        reduce_all_ways(values, [np.float32(1)] * 9)
    np.testing.assert_array_equal(values, copies)


def test_empty_cohorts_give_what_no_clients_give():
    with InProcessContext(2):
        total, mean, weighted, lowest, highest = reduce_all_ways([], [])
    np.testing.assert_array_equal(total, np.zeros(WIDTH))
    assert np.isnan(mean).all() and np.isnan(weighted).all()
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(lowest, np.full(WIDTH, largest))
    np.testing.assert_array_equal(highest, np.full(WIDTH, -largest))


@tff.tensorflow.computation
def nothing():
    return collections.OrderedDict(sum=0, merges=0)


@tff.tensorflow.computation(nothing.type_signature.result, np.int32)
def accumulate(total, value):
    return collections.OrderedDict(
        sum=total["sum"] + value, merges=total["merges"]
    )


@tff.tensorflow.computation(
    nothing.type_signature.result, nothing.type_signature.result
)
def merge(first, second):
    return collections.OrderedDict(
        # Not the same for any other order of shards.
        sum=10 * first["sum"] + second["sum"],
        merges=first["merges"] + second["merges"] + 1,
    )


@tff.tensorflow.computation(nothing.type_signature.result)
def report(total):
    return total


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def aggregate(values):
    return tff.federated_aggregate(values, nothing(), accumulate, merge, report)


@pytest.mark.parametrize(
    ("count", "expected", "merges"),
    [
        (0, 0, 0),
        (1, 1, 0),
        (4, 4, 0),
        (5, 41, 1),
        (9, 441, 2),
    ],
)
def test_federated_aggregate_merges_once_a_further_shard(
    count, expected, merges
):
    with InProcessContext(3):
        result = aggregate([1] * count)
    assert result == {"sum": expected, "merges": merges}


def test_values_of_clients_keep_their_order_over_shards():
    @tff.tensorflow.computation(np.int32)
    def square(x):
        return x * x

    @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
    def squares(values):
        mapped = tff.federated_map(square, values)
        return mapped, tff.federated_sum(mapped)

    for clients_per_shard in (1, 2, 4, 100):
        with InProcessContext(3, clients_per_shard):
            mapped, total = squares(list(range(9)))
        assert list(mapped) == [i * i for i in range(9)]
        assert total == sum(i * i for i in range(9))


# Of TFF's, those that reduce by federated_aggregate, by secure sums, by sums of
# estimates from earlier rounds.
AGGREGATORS = {
    "robust": tff.learning.robust_aggregator,
    "compressed": tff.learning.compression_aggregator,
    "secure": tff.learning.secure_aggregator,
    "encoded": lambda: tff.aggregators.MeanFactory(
        tff.aggregators.EncodedSumFactory.quantize_above_threshold(8, 1)
    ),
    "sum": tff.aggregators.SumFactory,
    "private": lambda: (
        tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(0.0, 9, 1.0)
    ),
}


# Rounds at random to one of 255 steps.
TOLERANCES = {"encoded": 0.01}


@pytest.mark.parametrize("name", AGGREGATORS)
def test_tffs_aggregators_give_the_same_through_merges(name):
    factory = AGGREGATORS[name]()
    weighted = isinstance(factory, tff.aggregators.WeightedAggregationFactory)
    if weighted:
        process = factory.create(VECTOR, tff.TensorType(np.float32))
    else:
        process = factory.create(VECTOR)
    draw = np.random.default_rng(0)
    rounds = draw.normal(size=[2, 9, WIDTH]).astype(np.float32)
    weights = [np.float32(i % 3 + 1) for i in range(9)]

    def results(clients_per_shard):
        with InProcessContext(2, clients_per_shard):
            state = process.initialize()
            for values in rounds:
                arguments = [list(values), *([weights] if weighted else [])]
                output = process.next(state, *arguments)
                state = output.state
            return tf.nest.flatten((output.result, state))

    assert np.linalg.norm(results(100)[0]) > 0
    for chained, plain in zip(results(4), results(100)):
        if np.asarray(plain).dtype.kind == "f":
            tolerance = TOLERANCES.get(name, 1e-6)
            np.testing.assert_allclose(chained, plain, 1e-5, tolerance)
        else:
            np.testing.assert_array_equal(chained, plain)


def test_reservoir_sampling_keeps_clients_values_through_merges():
    factory = tff.aggregators.UnweightedReservoirSamplingFactory(sample_size=3)
    process = factory.create(tff.TensorType(np.int32))
    with InProcessContext(2):
        output = process.next(process.initialize(), list(range(9)))
    sample = [int(value) for value in output.result]
    assert len(set(sample)) == 3
    assert set(sample) <= set(range(9))


# Reductions by themselves.


def plus(pair):
    return pair[0] + pair[1]


MAKES = {
    "sum": lambda: reductions.Elementwise(np.add, lambda: None),
    "min": lambda: reductions.Elementwise(np.minimum, lambda: None),
    "max": lambda: reductions.Elementwise(np.maximum, lambda: None),
    "aggregate": lambda: reductions.Aggregate(
        np.zeros([], np.int64), plus, plus, lambda total: total
    ),
}


def folded(make, values, clients_per_shard):
    """The result of shards of values, as `passes` folds them."""
    whole = shards.Chain([make])
    for part in shards.cut(len(values), clients_per_shard):
        whole.add(shards.fold([make], [[values[i]] for i in part]))
    return whole.results()[0]


def plainly(make, values):
    reduction = make()
    for value in values:
        reduction.add(value)
    return reduction.result()


@pytest.mark.parametrize("name", MAKES)
@hypothesis.given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20),
    st.integers(1, 21),
)
def test_merged_integers_are_the_plain_fold(name, numbers, clients_per_shard):
    values = [np.int64(number) for number in numbers]
    result = folded(MAKES[name], values, clients_per_shard)
    assert result == plainly(MAKES[name], values)


@pytest.mark.parametrize("kind", [reductions.Mean, reductions.WeightedMean])
@hypothesis.given(
    st.lists(
        st.tuples(
            st.floats(-1e3, 1e3, width=32),
            st.floats(-1e3, 1e3, width=32),
            st.floats(0.125, 8, width=32),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 21),
)
def test_merged_means_are_the_plain_ones(kind, numbers, clients_per_shard):
    """Of nested tuples, and for sums of floats too."""
    values = [
        ((np.float32([a]), (np.float64(b),)), np.float32(weight))
        for a, b, weight in numbers
    ]
    if kind is reductions.Mean:
        values = [value for value, _ in values]

    def make():
        return kind(lambda: None)

    a, (b,) = folded(make, values, clients_per_shard)
    plain_a, (plain_b,) = plainly(make, values)
    # Relative to the numbers that cancel each other.
    np.testing.assert_allclose(a, plain_a, rtol=1e-6, atol=1e-6 * 1e3)
    np.testing.assert_allclose(b, plain_b, rtol=1e-6, atol=1e-6 * 1e3)


@pytest.mark.parametrize(
    "make", [MAKES["sum"], lambda: reductions.Mean(lambda: None)]
)
def test_partial_results_that_came_in_a_message_stay_as_they_are(make):
    """What other machines send lies in memory that may not be written."""

    def partial(value):
        (result,) = shards.fold([make], [[np.float32([value])]])
        for array in reductions.flatten(result):
            array.flags.writeable = False
        return result

    first, second = partial(1), partial(3)
    totals = []
    for _ in range(2):
        whole = shards.Chain([make])
        whole.add([first])
        whole.add([second])
        totals.append(whole.results()[0])
    np.testing.assert_array_equal(totals[0], totals[1])
    (number,) = totals[0]
    assert number == (4 if make is MAKES["sum"] else 2)


def test_shards_without_clients_change_nothing():
    make = MAKES["sum"]
    whole = shards.Chain([make])
    for values in ([], [[np.float32([1, 2])]], [], [[np.float32([3, 4])]], []):
        whole.add(shards.fold([make], values))
    np.testing.assert_array_equal(whole.results()[0], [4, 6])
