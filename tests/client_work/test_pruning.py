"""Pruned weights are zero for all, and neither stepped on, sent nor counted."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import small_training
from tff_pipeline import errors
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.compressed import kept_numbers
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import pruning_mask
from tff_pipeline.client_work.hooks import Finished, Message
from tff_pipeline.client_work.pruning import Pruned
from tff_pipeline.config import (
    ExperimentConfig,
    OptimizerConfig,
    PruningConfig,
    ServerConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext

# The small model: kernels of 35 and 21 numbers, biases of 7 and 3.
SIZE, KERNELS = 66, 56


def config_of(share, begin=1, end=3, schedule="polynomial"):
    last = None if schedule == "once" else end
    return PruningConfig(share, schedule, begin, last)


def algorithm_of(task, hooks, client=None, server=None):
    clients = small_training.CLIENTS
    if client is not None:
        clients = dataclasses.replace(clients, optimizer=client)
    config = ExperimentConfig(
        clients=clients, server=server or small_training.SERVER
    )
    return FedAvg(
        AlgorithmContext(
            config,
            task.tff_model_fn,
            Aggregation(WeightedMeanFactory()),
            hooks,
        )
    )


def flat(leaves):
    leaves = tf.nest.flatten(leaves)
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def kept_of(state):
    return np.asarray(state.client_work["pruning"]["kept"])


def rounds_of(algorithm, task, count, spoil=()):
    """The states and metrics after each of the rounds."""
    found = []
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        for number in range(1, count + 1):
            blocks = small_training.blocks(task, number)
            for place in spoil:
                x = blocks[place][0]["x"].copy()
                x[0, 0] = np.nan
                blocks[place][0]["x"] = x
            state, metrics, _ = algorithm.run_round(state, blocks, ())
            found.append((state, algorithm.measure(metrics)))
    return found


def test_the_lowest_scores_go_and_never_come_back():
    """By hand: squares by the sum of those that are not smaller, by layer."""
    weights = [
        # 1, .25 / 9.25, .04 / 9.29, .01 / 9.3 of -3, .5, -.2, .1.
        tf.constant([[0.5, -3.0], [0.1, -0.2]]),
        tf.constant([0.0, 0.0]),
        # 1, 900 / 2500, 400 / 2900, 100 / 3000 of 40, 30, 20, 10.
        tf.constant([[10.0, 20.0, 30.0, 40.0]]),
    ]
    first = pruning_mask.renewed(
        tf.constant(pruning_mask.all_kept(weights)), weights, tf.constant(0.5)
    )
    assert first.numpy().astype(int).tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 1, 1]
    grown = [weights[0][::-1], weights[1], weights[2][:, ::-1]]
    second = pruning_mask.renewed(first, grown, tf.constant(0.75))
    assert second.numpy().astype(int).tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scales_of_layers_do_not_matter(scale):
    draw = np.random.default_rng(0)
    weights = [
        tf.constant(draw.normal(size=size), tf.float32)
        for size in ([20, 5], [5], [5, 4])
    ]
    kept = tf.constant(pruning_mask.all_kept(weights))
    expected = pruning_mask.renewed(kept, weights, tf.constant(0.7))
    weights[2] = weights[2] * scale
    got = pruning_mask.renewed(kept, weights, tf.constant(0.7))
    np.testing.assert_array_equal(got, expected)
    assert int(tf.reduce_sum(tf.cast(got, tf.int32))) == 5 + 36
    # The small layer keeps a larger share.
    assert np.mean(got[-20:]) > 0.35


def test_of_equals_the_first_stay_and_one_of_each_layer_always():
    weights = [tf.ones([2, 5]), tf.ones([1, 3])]
    mask = pruning_mask.renewed(
        tf.constant(pruning_mask.all_kept(weights)), weights, tf.constant(0.95)
    )
    assert mask.numpy().nonzero()[0].tolist() == [0, 10]


def test_a_layer_of_zeros_goes_first():
    weights = [tf.zeros([2, 5]), tf.ones([2, 5])]
    mask = pruning_mask.renewed(
        tf.constant(pruning_mask.all_kept(weights)), weights, tf.constant(0.5)
    )
    assert mask.numpy().nonzero()[0].tolist() == list(range(10, 20))


def test_the_schedule_is_that_of_zhu_and_gupta():
    schedule = pruning_mask.schedule_of(config_of(0.9, 2, 6))
    for t in range(1, 9):
        now, share = schedule(tf.constant(t))
        assert bool(now) == (2 <= t <= 6)
        if now:
            left = (1 - (t - 2) / 4) ** 3
            assert float(share) == pytest.approx(0.9 - 0.9 * left, abs=1e-6)
    once = pruning_mask.schedule_of(config_of(0.9, 2, schedule="once"))
    assert [bool(once(tf.constant(t))[0]) for t in range(1, 5)] == [
        *(False, True, False, False)
    ]


@pytest.mark.parametrize("share", [0.0, 0.03125, 0.5, 1.0])
def test_model_and_mask_arrive_by_the_bytes_alone(share):
    draw = np.random.default_rng(0)
    vector = draw.normal(size=[640]).astype(np.float32)
    kept = np.arange(640) >= share * 640
    payload = kept_numbers.to_bytes_with_mask(vector, tf.constant(kept))
    got, mask = kept_numbers.from_bytes_with_mask(payload, 640)
    np.testing.assert_array_equal(mask, kept)
    np.testing.assert_array_equal(got, np.where(kept, vector, 0))
    assert len(payload) == 1 + 4 * kept.sum() + (80 if share else 0)


@pytest.mark.parametrize("tagged", [False, True])
def test_what_a_client_sends_is_its_weight_and_the_kept_numbers(tagged):
    hook = Pruned(config_of(0.5), tagged)
    specs = [tf.TensorSpec([2, 2]), tf.TensorSpec([2])]
    value = dict(hook.initial_server_value(specs))
    value["kept"] = tf.constant([True, False, False, True, True, True])
    update = [tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([5.0, 6.0])]
    weight = tf.constant(17.25)
    if tagged:
        weight = {
            "weight": weight,
            "key": tf.constant(7, tf.int64),
            "mark": tf.constant(0),
            "round": tf.constant(3),
        }
    client = Finished(
        (),
        {},
        tf.constant(1),
        tf.constant(0.1),
        value,
        tf.constant(True),
    )
    sent, _ = hook.message(Message(update, weight, {}), (), client)
    assert len(sent.update) == (20 if tagged else 4) + 4 * 4
    got = hook.decoded(sent.update, specs, value)
    assert flat(got.update).tolist() == [1, 0, 0, 4, 5, 6]
    np.testing.assert_equal(
        tf.nest.map_structure(float, got.weight),
        tf.nest.map_structure(float, weight),
    )


def test_before_it_begins_every_bit_is_as_without_it():
    task = small_training.task_of(small_training.dense)
    plain = algorithm_of(task, [])
    pruned = algorithm_of(task, [Pruned(config_of(0.9, 3, 4))])
    with InProcessContext(1):
        state = plain.initial_state(small_training.start(task))
        for number in (1, 2):
            state, _, _ = plain.run_round(
                state, small_training.blocks(task, number), ()
            )
    ours, _ = rounds_of(pruned, task, 2)[-1]
    np.testing.assert_array_equal(
        flat(pruned.model_weights(ours).trainable),
        flat(plain.model_weights(state).trainable),
    )


@pytest.mark.parametrize(
    ("client", "server"),
    [("momentum", "momentum"), ("muon", "adam")],
)
def test_what_is_pruned_stays_zero_whatever_optimizers_remember(client, server):
    task = small_training.task_of(small_training.dense)
    algorithm = algorithm_of(
        task,
        [Pruned(config_of(0.8))],
        OptimizerConfig("client", client, 0.05),
        ServerConfig(OptimizerConfig("server", server, 0.1)),
    )
    masks = [np.ones(SIZE, bool)]
    for state, values in rounds_of(algorithm, task, 5):
        kept, before = kept_of(state), masks[-1]
        weights = flat(algorithm.model_weights(state).trainable)
        # To the bit: -0 would be another number in the export.
        assert not weights[~kept].tobytes().strip(b"\0")
        assert np.all(kept <= before)
        # Bytes are of the mask that clients received.
        assert values["bytes_up"] == 4 + 4 * before.sum()
        mask = 0 if before.all() else (SIZE + 7) // 8
        assert values["bytes_down"] == 1 + mask + 4 * before.sum()
        sparsity = algorithm.figures(state)["sparsity"]
        assert sparsity == pytest.approx((~kept).sum() / KERNELS, abs=1e-6)
        masks.append(kept)
    # 11 of 56 remain, and all ten biases.
    assert kept.sum() == 11 + 10
    assert np.array_equal(masks[-1], masks[-3])
    assert algorithm.columns == ("sparsity",)


def test_the_mean_is_that_of_updates_within_the_mask():
    """One round by hand: each client steps on kept weights alone."""
    task = small_training.task_of(small_training.dense)
    hook = Pruned(config_of(0.8, 1, schedule="once"))
    algorithm = algorithm_of(
        task,
        [hook],
        OptimizerConfig("client", "sgd", 0.05),
        ServerConfig(OptimizerConfig("server", "sgd", 1.0)),
    )
    (one, _), (two, _) = rounds_of(algorithm, task, 2)
    kept, before = kept_of(one), algorithm.model_weights(one)
    moved, total = 0.0, 0.0
    model = small_training.dense()
    for block in small_training.blocks(task, 2):
        with InProcessContext(1):
            payload = algorithm.update.computation(
                {
                    "weights": before,
                    "data": block,
                    "server_values": one.client_work,
                }
            )[0]
        got = hook.decoded(
            tf.constant(payload),
            [tf.TensorSpec(w.shape) for w in model.trainable_weights],
            one.client_work["pruning"],
        )
        moved = moved + float(got.weight) * flat(got.update).astype(float)
        total += float(got.weight)
    assert not np.any(moved[~kept])
    np.testing.assert_allclose(
        flat(before.trainable) - flat(algorithm.model_weights(two).trainable),
        moved / total,
        atol=1e-6,
    )


def test_clients_that_are_not_finite_send_zeros_and_do_not_count():
    task = small_training.task_of(small_training.dense)
    algorithm = algorithm_of(task, [Pruned(config_of(0.8))])
    for state, values in rounds_of(algorithm, task, 4, spoil=(1,)):
        assert values["rejected_clients"] == 1
        assert values["rejected_update"] == 0
        assert np.isfinite(flat(algorithm.model_weights(state).trainable)).all()
    assert algorithm.figures(state)["sparsity"] > 0.7


def test_a_model_of_vectors_alone_is_refused():
    hook = Pruned(config_of(0.5))
    with pytest.raises(errors.ConfigError, match="two axes"):
        hook.initial_server_value([tf.TensorSpec([5])])
