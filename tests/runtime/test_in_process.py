"""The in-process runtime gives what TFF's worker gives, and the same bits."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import small_training as small
from tests.testing.blocks import drawn_block, orders_of
from tests.testing.soaked import soaked
from tff_pipeline.aggregators.private import dp_mean, noise
from tff_pipeline.aggregators.private.distributed import (
    NumberedDistributedDpMeanFactory,
)
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.hooks import NumberedClients
from tff_pipeline.client_work.local_noise import LocalNoise
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker

AGGREGATORS = {
    "ours": lambda: None,
    "mean": tff.aggregators.MeanFactory,
    "robust": tff.learning.robust_aggregator,
    "clipping": lambda: tff.aggregators.clipping_factory(
        1e-3, tff.aggregators.MeanFactory()
    ),
    "zeroing": lambda: tff.aggregators.zeroing_factory(
        1e3, tff.aggregators.MeanFactory()
    ),
    "compression": tff.learning.compression_aggregator,
    "quantized": lambda: tff.aggregators.MeanFactory(
        tff.aggregators.EncodedSumFactory.quantize_above_threshold(8, 1 << 20)
    ),
}
KEY = noise.key_of(7)


def noised(drawn):
    return {"aggregator": dp_mean.DpMeanFactory(0.05, 0.1, 6, drawn)}


# Keyed, so that both runtimes draw the same noise.
PRIVATE = {
    "dp_gaussian": lambda: noised(noise.FreshNoise(KEY)),
    "dp_gaussian_adaptive": lambda: {
        "aggregator": dp_mean.AdaptiveDpMeanFactory(0.1, 1.0, 6, KEY)
    },
    "dp_tree": lambda: noised(noise.TreeNoise(KEY, 3)),
    "dp_tree_restart": lambda: noised(noise.TreeNoise(KEY, 3, restart=2)),
    "dp_matrix": lambda: noised(noise.BandedNoise(KEY, [0.8, 0.5, 0.3])),
    "dp_local": lambda: {
        "aggregator": tff.aggregators.UnweightedMeanFactory(),
        "hooks": [LocalNoise(0.05, 0.1, KEY)],
    },
    # Without noise, which is another one where the update's last bit is; with
    # as many bits as make rounding vanish.
    "dp_distributed": lambda: {
        "aggregator": NumberedDistributedDpMeanFactory(0.05, 0.0, 6, KEY, 30),
        "hooks": [NumberedClients()],
    },
}


@pytest.fixture(scope="module", autouse=True)
def worker():
    """TFF's, where computations run that no `InProcessContext` is around."""
    with LocalWorker():
        yield


@pytest.fixture(scope="module")
def task():
    return small.task_of(small.dense)


@pytest.fixture(scope="module")
def process(task):
    return fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)


# One of each kind of state in every suite: none, TFF's, a noise's.
QUICK = ("mean", "dp_tree")


@pytest.mark.parametrize(
    "name", [*QUICK, *soaked(*sorted({*AGGREGATORS, *PRIVATE} - {*QUICK}))]
)
def test_three_rounds_end_as_on_tffs_worker(task, name):
    if name in PRIVATE:
        parts = PRIVATE[name]()
    else:
        parts = {"aggregator": AGGREGATORS[name]()}
    ours = fed_avg.build(
        task.tff_model_fn, small.CLIENTS, small.SERVER, **parts
    )
    weights, rounds = (
        small.start(task),
        [small.blocks(task, number) for number in (1, 2, 3)],
    )
    with InProcessContext():
        here, metrics = small.train(ours, weights, rounds)
    there, their_metrics = small.train(ours, weights, rounds)
    small.assert_close(here, there, weights.trainable)
    for part in ("loss", "accuracy"):
        np.testing.assert_allclose(
            metrics["client_work"]["train"][part],
            their_metrics["client_work"]["train"][part],
            rtol=1e-5,
        )


def test_three_rounds_end_as_with_tffs_own_fed_avg(task, process):
    """Same batches in the same order through another client work."""
    theirs = tff.learning.algorithms.build_weighted_fed_avg(
        task.tff_model_fn,
        tff.learning.optimizers.build_sgdm(0.01, 0.9),
        tff.learning.optimizers.build_sgdm(0.5, 0.9),
    )
    weights = small.start(task)
    rounds = [small.blocks(task, number) for number in (1, 2, 3)]

    def batches(block):
        orders = orders_of(block, small.CLIENTS.epochs_per_round)
        (block,) = block
        for order in orders:
            for begin in range(0, len(order), small.CLIENTS.batch_size):
                chosen = order[begin : begin + small.CLIENTS.batch_size]
                yield block["x"][chosen], block["y"][chosen]

    def dataset(block):
        parts = [tf.data.Dataset.from_tensors(b) for b in batches(block)]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.concatenate(part)
        return whole.map(
            lambda x, y: (
                tf.ensure_shape(x, [None, 5]),
                tf.ensure_shape(y, [None]),
            )
        )

    with InProcessContext():
        here, _ = small.train(process, weights, rounds)
    there, _ = small.train(
        theirs, weights, [[dataset(b) for b in data] for data in rounds]
    )
    small.assert_close(here, there, weights.trainable)


@pytest.mark.parametrize("model_fn", [*soaked(small.dense), small.with_dropout])
def test_any_number_of_threads_gives_the_same_bits(model_fn):
    task = small.task_of(model_fn)
    process = fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)
    weights, rounds = (
        small.start(task),
        [small.blocks(task, number) for number in (1, 2)],
    )
    ends = []
    for threads in (1, 2, 4):
        with InProcessContext(threads):
            ends.append(small.train(process, weights, rounds)[0])
    for other in ends[1:]:
        for a, b in zip(ends[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.soak
def test_dropout_is_a_function_of_seed_round_and_client():
    task = small.task_of(small.with_dropout)
    process = fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)
    weights = small.start(task)
    one = task.train.load("client_3").take(np.zeros(1, int))
    # Of equal examples, so that only dropout can differ.
    client = Examples(np.repeat(one.x, 30, axis=0), np.repeat(one.y, 30))

    def once(*key):
        (element,) = drawn_block(client, *key)
        data = [tf.data.Dataset.from_tensors(element)]
        with InProcessContext():
            return small.train(process, weights, [data])[0][0]

    np.testing.assert_array_equal(once(0, 1, 2), once(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert (once(0, 1, 2) != once(*other)).any()


def test_client_that_is_not_finite_is_dropped_and_counted(task, process):
    weights = small.start(task)
    good = small.blocks(task, 1)
    # The last one, for whose sake all others are in the same shards.
    last = len(good) - 1
    bad = task.train.load(task.train.client_ids[last])
    bad = Examples(np.where(bad.x > 0, np.nan, bad.x), bad.y)
    poisoned = [*good[:-1], drawn_block(bad, client=last)]
    with InProcessContext():
        with_bad, metrics = small.train(process, weights, [poisoned])
        without, expected = small.train(process, weights, [good[:-1]])
    assert metrics["client_work"]["rejected_clients"] == 1
    assert expected["client_work"]["rejected_clients"] == 0
    assert metrics["client_work"]["train"] == expected["client_work"]["train"]
    for a, b in zip(with_bad, without):
        np.testing.assert_array_equal(a, b)


def test_process_of_another_makers_runs_unchanged():
    """TFF's own baseline task, model and process."""
    emnist = tff.simulation.baselines.emnist
    baseline = emnist.create_character_recognition_task(
        tff.simulation.baselines.ClientSpec(num_epochs=1, batch_size=8),
        model_id="2nn",
        only_digits=True,
        use_synthetic_data=True,
    )
    process = tff.learning.algorithms.build_weighted_fed_avg(
        baseline.model_fn, tff.learning.optimizers.build_sgdm(0.01)
    )
    data = baseline.datasets.train_data
    preprocess = baseline.datasets.train_preprocess_fn
    clients = []
    for name in data.client_ids[:3]:
        # Held still: the task shuffles anew each time it is read.
        x, y = next(iter(preprocess(data.create_tf_dataset_for_client(name))))
        slices = tf.data.Dataset.from_tensor_slices((x.numpy(), y.numpy()))
        clients.append(slices.batch(4))
    first = process.initialize()
    there = process.next(first, clients)
    with InProcessContext():
        here = process.next(first, clients)
    for a, b in zip(
        here.state.global_model_weights.trainable,
        there.state.global_model_weights.trainable,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def both(computation, *arguments):
    """What the computation gives here and on TFF's worker."""
    with InProcessContext():
        here = computation(*arguments)
    there = computation(*arguments)
    return here, there


def at_clients(dtype=np.float32, shape=()):
    return tff.FederatedType(tff.TensorType(dtype, shape), tff.CLIENTS)


def test_simple_intrinsics_agree_with_the_worker():
    @tff.tensorflow.computation(np.int32)
    def to_float(x):
        return tf.cast(x, tf.float32)

    @tff.tensorflow.computation(np.float32)
    def add_one_of_float(x):
        return x + 1.0

    @tff.tensorflow.computation
    def one():
        return tf.constant(1.0)

    @tff.federated_computation(at_clients(), at_clients(np.int32))
    def all_of_them(floats, ints):
        server = tff.federated_value(2.0, tff.SERVER)
        total = tff.federated_sum(floats)
        # A second pass: clients that need what the first one summed.
        shifted = tff.federated_map(
            tff.tensorflow.computation(lambda x, y: x - y),
            (floats, tff.federated_broadcast(total)),
        )
        return (
            total,
            tff.federated_sum(tff.federated_zip((floats, ints))),
            tff.federated_mean(floats),
            tff.federated_mean(floats, tff.federated_map(to_float, ints)),
            tff.federated_min(ints),
            tff.federated_max(floats),
            tff.federated_map(add_one_of_float, server),
            tff.federated_sum(tff.federated_eval(one, tff.CLIENTS)),
            tff.federated_eval(one, tff.SERVER),
            tff.federated_sum(shifted),
            tff.federated_mean(shifted),
        )

    here, there = both(all_of_them, [1.0, -2.0, 5.5], [3, 2, 9])
    np.testing.assert_allclose(
        tf.nest.flatten(here), tf.nest.flatten(there), rtol=1e-6
    )


def test_aggregate_takes_clients_in_order():
    text = tff.TensorType(np.str_)

    @tff.tensorflow.computation(text, text)
    def join(a, b):
        return tf.strings.join([a, b])

    @tff.tensorflow.computation(text)
    def report(a):
        return tf.strings.join([a, "!"])

    @tff.federated_computation(tff.FederatedType(text, tff.CLIENTS))
    def aggregate(value):
        zero = tff.tensorflow.computation(lambda: tf.constant(""))()
        return tff.federated_aggregate(value, zero, join, join, report)

    with InProcessContext(4):
        assert aggregate(list("abcdefgh")) == b"abcdefgh!"


def test_select_gives_every_client_what_its_keys_name():
    table = tff.TensorType(np.int32, [4])

    @tff.tensorflow.computation(table, np.int32)
    def pick(values, key):
        return tf.gather(values, key)

    @tff.tensorflow.computation(tff.SequenceType(np.int32))
    def total(chosen):
        return chosen.reduce(np.int32(0), lambda a, b: a + b)

    @tff.federated_computation(
        at_clients(np.int32, [2]), tff.FederatedType(table, tff.SERVER)
    )
    def select(keys, values):
        limit = tff.federated_value(4, tff.SERVER)
        chosen = tff.federated_select(keys, limit, values, pick)
        return tff.federated_map(total, chosen)

    with InProcessContext():
        result = select(
            [[0, 1], [3, 3]], np.array([1, 10, 100, 1000], np.int32)
        )
    assert list(result) == [11, 2000]


def test_secure_sums_are_sums():
    @tff.federated_computation(at_clients(np.int32))
    def secure(value):
        return (
            tff.federated_secure_sum_bitwidth(value, 8),
            tff.federated_secure_sum(value, 100),
        )

    with InProcessContext():
        assert tuple(secure([1, 2, 3])) == (6, 6)


def test_no_clients_give_zeros():
    @tff.federated_computation(at_clients(np.float32, [2]))
    def total(value):
        return tff.federated_sum(value)

    with InProcessContext():
        np.testing.assert_array_equal(total([]), [0, 0])


def test_unknown_intrinsic_is_named(monkeypatch):
    from tff_pipeline.runtime import interpreter

    @tff.federated_computation(at_clients())
    def total(value):
        return tff.federated_sum(value)

    monkeypatch.delattr(interpreter.Interpreter, "_federated_sum")
    unknown = pytest.raises(NotImplementedError, match="federated_sum")
    with InProcessContext(), unknown:
        total([1.0])


def test_structures_and_containers_survive():
    Point = collections.namedtuple("Point", ["x", "y"])

    @tff.tensorflow.computation
    def make():
        return collections.OrderedDict(
            b=Point(tf.constant(1), tf.constant([2.0])), a=(tf.constant("s"),)
        )

    here, there = both(make)
    assert type(here) is type(there)
    assert list(here) == ["b", "a"]
    assert here["b"].x == 1
    assert here["a"] == (b"s",)


def test_a_failing_client_stops_the_round_with_its_error():
    @tff.tensorflow.computation(np.int32)
    def check(x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 3)]):
            return tf.identity(x)

    @tff.federated_computation(at_clients(np.int32))
    def total(value):
        return tff.federated_sum(tff.federated_map(check, value))

    with InProcessContext():
        assert total([1, 2]) == 3
        with pytest.raises(tf.errors.InvalidArgumentError):
            total([1, 2, 3, 1, 1, 1, 1, 1])
        assert total([1, 2]) == 3
