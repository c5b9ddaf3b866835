"""The error of averaged LoRA factors, against the products themselves."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tff_pipeline.aggregators import lora_error
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.clip import clip
from tff_pipeline.aggregators.lora_error import (
    COLUMN,
    LoraErrorFactory,
    with_lora_error,
)
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    ServerConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

# A bias, then B before A of a square module, A and B of another, and A and B of
# four modules in one.
SHAPES = ([7], [6, 2], [2, 6], [3, 40], [5, 3], [4, 2, 6], [4, 3, 2])
PAIRS = ((2, 1), (3, 4), (5, 6))


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext():
        yield


def drawn(seed, size=1.0):
    draw = np.random.default_rng(seed)
    return [
        (size * draw.normal(size=shape)).astype(np.float32) for shape in SHAPES
    ]


def frobenius(matrices):
    return np.sqrt(sum(np.square(matrix).sum() for matrix in matrices))


def by_hand(start, deltas, weights, pairs=PAIRS):
    """From the clients' factors after training, and nothing of ours."""
    share = np.float64(weights) / np.sum(weights)
    ends = [
        [w.astype(np.float64) - d for w, d in zip(start, delta)]
        for delta in deltas
    ]

    def mean(values):
        return sum(s * v for s, v in zip(share, values))

    lost, update = [], []
    for a, b in pairs:
        exact = mean([end[b] @ end[a] for end in ends])
        factors = mean([end[b] for end in ends]) @ mean(
            [end[a] for end in ends]
        )
        lost.append(exact - factors)
        update.append(exact - start[b].astype(np.float64) @ start[a])
    return frobenius(lost) / frobenius(update)


def process_of(factory=None, **options):
    leaves = [tff.TensorType(np.float32, shape) for shape in SHAPES]
    factory = factory or LoraErrorFactory(
        WeightedMeanFactory(), PAIRS, **options
    )
    return factory.create(tff.to_type(leaves), tff.TensorType(np.float32))


@pytest.fixture(scope="module")
def exact():
    return process_of()


def measured(process, start, deltas, weights):
    output = process.next(
        process.initialize(), deltas, [np.float32(w) for w in weights]
    )
    means = output.measurements["means"]
    return lora_error.relative_error(start, means, PAIRS)


@pytest.mark.parametrize("size", [0.1, 0.5, 1.0])
def test_the_error_is_that_of_the_products(exact, size):
    start = drawn(0)
    deltas = [drawn(seed, size) for seed in range(1, 11)]
    weights = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
    expected = by_hand(start, deltas, weights)
    assert 0.01 < expected < 2
    assert measured(exact, start, deltas, weights) == pytest.approx(
        expected, rel=1e-5
    )


def test_the_error_grows_with_the_drift(exact):
    start = drawn(0)
    errors = [
        measured(exact, start, [drawn(s, size) for s in (1, 2, 3)], [1, 1, 1])
        for size in (0.01, 0.1, 1.0)
    ]
    assert errors == sorted(errors)
    # Of second order, where the update is of first.
    assert errors[1] / errors[0] == pytest.approx(10, rel=0.3)


def test_the_order_of_clients_changes_nothing(exact):
    start, deltas = drawn(0), [drawn(seed) for seed in range(1, 7)]
    weights = [1, 2, 3, 4, 5, 6]
    forward = measured(exact, start, deltas, weights)
    backward = measured(exact, start, deltas[::-1], weights[::-1])
    assert backward == pytest.approx(forward, rel=1e-5)


def test_equal_clients_and_one_client_lose_nothing(exact):
    start, delta = drawn(0), drawn(1)
    assert measured(exact, start, [delta], [3]) < 1e-6
    assert measured(exact, start, [delta] * 5, [1, 2, 3, 4, 5]) < 1e-6


def test_a_client_without_weight_counts_for_nothing(exact):
    start, deltas = drawn(0), [drawn(seed) for seed in (1, 2, 3)]
    assert measured(exact, start, deltas, [2, 0, 1]) == pytest.approx(
        by_hand(start, [deltas[0], deltas[2]], [2, 1]), rel=1e-5
    )


def test_with_one_factor_trained_the_mean_is_exact(exact):
    start, deltas = drawn(0), [drawn(seed) for seed in (1, 2, 3)]
    for delta in deltas:
        for a, _ in PAIRS:
            delta[a][:] = 0
    assert measured(exact, start, deltas, [1, 2, 3]) == 0


def test_the_mean_is_that_of_the_inner_factory(exact):
    deltas = [drawn(seed) for seed in (1, 2, 3)]
    weights = [np.float32(w) for w in (1, 2, 4)]
    plain = process_of(WeightedMeanFactory())
    ours = exact.next(exact.initialize(), deltas, weights).result
    theirs = plain.next(plain.initialize(), deltas, weights).result
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


def test_random_vectors_estimate_the_error():
    start, deltas = drawn(0), [drawn(seed) for seed in range(1, 9)]
    process, weights = process_of(most_bytes=0), [1] * 8
    means = process.next(
        process.initialize(), deltas, [np.float32(w) for w in weights]
    ).measurements["means"]
    # The module of 6 inputs has fewer than there are vectors.
    assert [p.shape for p in means["product"]] == [
        (6, 6),
        (5, 16),
        (4, 3, 6),
    ]
    estimate = measured(process, start, deltas, weights)
    assert estimate != measured(process_of(), start, deltas, weights)
    assert estimate == pytest.approx(by_hand(start, deltas, weights), rel=0.1)


@pytest.mark.parametrize(
    ("most_bytes", "relative"), [(1 << 20, 1e-5), (0, 0.25)]
)
def test_modules_may_lie_in_one_array(most_bytes, relative):
    shapes, pairs = ([4, 2, 30], [4, 5, 2]), [(0, 1)]
    draw = np.random.default_rng(0)
    start, *deltas = (
        [draw.normal(size=shape).astype(np.float32) for shape in shapes]
        for _ in range(4)
    )
    process = LoraErrorFactory(WeightedMeanFactory(), pairs, most_bytes).create(
        tff.to_type([tff.TensorType(np.float32, s) for s in shapes]),
        tff.TensorType(np.float32),
    )
    weights = [np.float32(w) for w in (1, 2, 3)]
    output = process.next(process.initialize(), deltas, weights)
    means = output.measurements["means"]
    assert lora_error.relative_error(start, means, pairs) == pytest.approx(
        by_hand(start, deltas, weights, pairs), rel=relative
    )


@pytest.mark.parametrize("pairs", [[(1, 3)], [(2, 0)], [(2, 5)], [(-1, 1)]])
def test_places_of_other_weights_are_refused(pairs):
    with pytest.raises(ValueError, match="LoRA factors have"):
        process_of(LoraErrorFactory(WeightedMeanFactory(), pairs))


def test_extras_of_hooks_are_let_through():
    leaves = [tff.TensorType(np.float32, shape) for shape in SHAPES]
    kind = tff.to_type(
        collections.OrderedDict(
            update=leaves, noise=tff.TensorType(np.float32, [2])
        )
    )
    process = LoraErrorFactory(WeightedMeanFactory(), PAIRS).create(
        kind, tff.TensorType(np.float32)
    )
    start, deltas = drawn(0), [drawn(1), drawn(2)]
    messages = [
        collections.OrderedDict(update=d, noise=np.float32([n, 1]))
        for n, d in enumerate(deltas)
    ]
    assert measured(process, start, messages, [1, 3]) == pytest.approx(
        by_hand(start, deltas, [1, 3]), rel=1e-5
    )


def test_the_column_is_left_out_of_private_and_unweighted_runs():
    private = Aggregation(WeightedMeanFactory(), plan="a plan")
    assert with_lora_error(private, PAIRS) is private
    unweighted = Aggregation(tff.aggregators.UnweightedMeanFactory())
    assert with_lora_error(unweighted, PAIRS) is unweighted


# In an algorithm's rounds.


class Lora(tf.keras.layers.Layer):
    """x (W + B A)^T with a fixed W, 4 to 3 numbers."""

    def build(self, shape):
        draw = tf.keras.initializers.RandomNormal(seed=3)
        self.w = self.add_weight("w", [3, 4], None, draw, trainable=False)
        self.a = self.add_weight("a", [2, 4], None, draw)
        self.b = self.add_weight("b", [3, 2], None, draw)

    def call(self, inputs):
        return tf.matmul(inputs, self.w + self.b @ self.a, transpose_b=True)


def lora_task():
    draw = np.random.default_rng(0)
    examples = Examples(
        draw.normal(size=[24, 4]).astype(np.float32),
        draw.integers(3, size=24).astype(np.int32),
    )

    def model_fn():
        return tf.keras.Sequential([tf.keras.Input([4]), Lora()])

    clients = {"one": np.arange(9), "two": np.arange(9, 24)}
    return Task("lora", InMemoryData(examples, clients), examples, model_fn)


def blocks(task, names):
    return [
        drawn_block(task.train.load(name), 0, 1, client)
        for client, name in enumerate(names)
    ]


def algorithm_of(aggregation, task):
    config = ExperimentConfig(
        clients=ClientConfig(
            batch_size=4,
            epochs_per_round=3,
            optimizer=OptimizerConfig("client", "sgd", 0.5),
        ),
        server=ServerConfig(),
    )
    return FedAvg(AlgorithmContext(config, task.tff_model_fn, aggregation))


def first_state(algorithm):
    draw = np.random.default_rng(5)
    return algorithm.initial_state(
        tff.learning.models.ModelWeights(
            [
                draw.normal(size=shape).astype(np.float32)
                for shape in ([2, 4], [3, 2])
            ],
            [draw.normal(size=[3, 4]).astype(np.float32)],
        )
    )


def test_an_algorithm_has_the_column_of_its_clients():
    task, pairs = lora_task(), [(0, 1)]
    algorithm = algorithm_of(
        with_lora_error(Aggregation(WeightedMeanFactory()), pairs), task
    )
    assert algorithm.columns == (COLUMN,)
    state = first_state(algorithm)
    start = algorithm.model_weights(state).trainable
    deltas = []
    for names in (["one"], ["two"]):
        after, metrics, _ = algorithm.run_round(state, blocks(task, names), ())
        assert algorithm.measure(metrics)[COLUMN] < 1e-5
        ends = algorithm.model_weights(after).trainable
        deltas.append([s - e for s, e in zip(start, ends)])
    # Each as the first of its cohort, so that it draws the same order.
    data = blocks(task, ["one"]) + blocks(task, ["two"])
    _, metrics, _ = algorithm.run_round(state, data, ())
    values = algorithm.measure(metrics)
    expected = by_hand(start, deltas, [9, 15], pairs)
    assert values[COLUMN] == pytest.approx(expected, rel=1e-3)
    assert expected > 0.01 and values["rejected_clients"] == 0


def test_what_is_sent_and_learned_is_as_without_the_column():
    task = lora_task()
    plain = algorithm_of(Aggregation(WeightedMeanFactory()), task)
    ours = algorithm_of(
        with_lora_error(Aggregation(WeightedMeanFactory()), [(0, 1)]), task
    )
    assert (ours.bytes_up, ours.bytes_down) == (
        plain.bytes_up,
        plain.bytes_down,
    )
    data = blocks(task, ["one", "two"])
    for mine, other in zip(
        *(
            each.model_weights(
                each.run_round(first_state(each), data, ())[0]
            ).trainable
            for each in (ours, plain)
        )
    ):
        np.testing.assert_array_equal(mine, other)


def test_a_chain_keeps_its_own_columns():
    inner = clip(
        AggregationContext(
            AggregationConfig("clip+mean", clip_norm=1e-3),
            2,
            inner=Aggregation(WeightedMeanFactory()),
        )
    )
    task = lora_task()
    algorithm = algorithm_of(with_lora_error(inner, [(0, 1)]), task)
    assert algorithm.columns == (COLUMN, "clipped_clients")
    _, metrics, _ = algorithm.run_round(
        first_state(algorithm), blocks(task, ["one", "two"]), ()
    )
    values = algorithm.measure(metrics)
    assert values["clipped_clients"] == 2
    assert values[COLUMN] > 0.01


def test_a_round_without_an_update_has_an_empty_cell():
    aggregation = with_lora_error(Aggregation(WeightedMeanFactory()), PAIRS)
    process = process_of(aggregation.factory)
    nothing = [np.zeros(shape, np.float32) for shape in SHAPES]
    output = process.next(process.initialize(), [nothing], [np.float32(1)])
    completed = aggregation.complete(drawn(0), output.measurements)
    assert aggregation.measure(completed) == {}
    # As if an algorithm did not complete its measurements.
    assert aggregation.measure(output.measurements) == {}
