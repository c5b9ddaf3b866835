"""Clients send bytes; what these lose is kept, whatever becomes of a round."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import small_training
from tests.testing.blocks import drawn_block
from tests.testing.soaked import soaked
from tff_pipeline import errors, registry
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.compressed.compressor import CompressorContext
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.compression import Compressed
from tff_pipeline.client_work.held_model import ModelCode
from tff_pipeline.client_work.hooks import ClientHook, Finished, Message
from tff_pipeline.client_work.update import build_client_update
from tff_pipeline.config import (
    CompressionConfig,
    ExperimentConfig,
    OptimizerConfig,
    ServerConfig,
)
from tff_pipeline.config.compression import LINEAR
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.runtime.in_process import InProcessContext

SERVER = ServerConfig(OptimizerConfig("server", "sgd", 1.0))
# Those that make bytes; linear ones are steps of the aggregation.
CODES = sorted(set(registry.COMPRESSORS) - set(LINEAR))
WITH_MEMORY = ("top_k", "random_k", "ef_sign", "power_sgd")


def code_of(name, **options):
    config = CompressionConfig(name, **options)
    return registry.load(name, registry.COMPRESSORS)(
        CompressorContext(config, seed=0)
    )


def algorithm_of(task, hooks, model_code=None, factory=None):
    config = ExperimentConfig(clients=small_training.CLIENTS, server=SERVER)
    return FedAvg(
        AlgorithmContext(
            config,
            task.tff_model_fn,
            Aggregation(factory or WeightedMeanFactory()),
            hooks,
            model_code=model_code,
        )
    )


def flat(leaves):
    leaves = tf.nest.flatten(leaves)
    return np.concatenate([np.ravel(leaf) for leaf in leaves]).astype(float)


def memory(row):
    return flat(row["compression"]["memory"])


def spoilt(block):
    """A client's data with a number that is none."""
    block[0]["x"] = block[0]["x"].copy()
    block[0]["x"][0, 0] = np.nan
    return block


@pytest.mark.parametrize(
    "name", ["power_sgd", *soaked("top_k", "random_k", "ef_sign")]
)
def test_what_was_sent_and_the_memory_add_up_to_all_updates(name):
    task = small_training.task_of(small_training.dense)
    names = list(task.train.client_ids)
    algorithm = algorithm_of(task, [Compressed(code_of(name))])
    plain = build_client_update(
        task.tff_model_fn,
        build_optimizer(small_training.CLIENTS.optimizer),
        small_training.CLIENTS,
    )
    kept = {each: algorithm.initial_kept_state for each in names}
    draw, counted = np.random.default_rng(0), 0
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        for number in range(1, 8):
            # Some drop out of every round, and keep what they had.
            cohort = [int(i) for i in sorted(draw.choice(6, 4, replace=False))]
            blocks = [
                drawn_block(task.train.load(names[i]), 0, number, i)
                for i in cohort
            ]
            if number == 3:
                blocks[0] = spoilt(blocks[0])
            rows = [kept[names[i]] for i in cohort]
            weights = algorithm.model_weights(state)
            updates = [
                plain.computation({"weights": weights, "data": block})[0]
                for block in blocks
            ]
            after, metrics, new = algorithm.run_round(state, blocks, rows)
            values = algorithm.measure(metrics)
            assert values["rejected_clients"] == (number == 3)
            if number == 5:
                continue  # A round that is refused changes nothing.
            total = sum(float(each.update_weight) for each in updates)
            moved = flat(weights.trainable) - flat(
                algorithm.model_weights(after).trainable
            )
            # Weighted as the mean is: memories are of updates without weight.
            lost = sum(
                float(update.update_weight) * (memory(b) - memory(a))
                for update, a, b in zip(updates, rows, new)
            )
            learned = sum(
                float(each.update_weight) * flat(each.update)
                for each in updates
            )
            np.testing.assert_allclose(total * moved + lost, learned, atol=2e-5)
            if number == 3:
                np.testing.assert_array_equal(memory(new[0]), memory(rows[0]))
            state = after
            counted += np.linalg.norm(lost) > 1e-3
            kept |= {names[i]: row for i, row in zip(cohort, new)}
    assert counted > 2


def test_what_counted_and_the_memory_add_up_to_all_updates_late_ones_too():
    """TRAPS C8: what was sent in vain is put back; a client is NaN once."""
    task = small_training.task_of(small_training.dense)
    names = list(task.train.client_ids)
    algorithm = algorithm_of(task, [Compressed(code_of("top_k", fraction=0.1))])
    assert algorithm.puts_back
    plain = build_client_update(
        task.tff_model_fn,
        build_optimizer(small_training.CLIENTS.optimizer),
        small_training.CLIENTS,
    )
    kept = dict.fromkeys(names, algorithm.initial_kept_state)
    updates, counted = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    # Round -> those that come and those that are late; round 3 is lost.
    cohorts = {1: ("012", "3"), 2: ("123", ""), 3: ("013", "2"), 4: ("23", "1")}
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        for number, (came, late) in cohorts.items():
            blocks = {
                names[i]: drawn_block(task.train.load(names[i]), 0, number, i)
                for i in map(int, came + late)
            }
            spoilt_one = names[1] if number == 2 else None
            if spoilt_one:
                spoilt(blocks[spoilt_one])
            weights = algorithm.model_weights(state)
            in_time = [names[int(i)] for i in came]
            in_vain = [names[int(i)] for i in late]
            for each, block in blocks.items():
                client = {"weights": weights, "data": block}
                if each != spoilt_one:
                    updates[each] += flat(plain.computation(client)[0].update)
                client["states"] = kept[each]
                sent = algorithm.update.computation(client)[0]
                if each in in_time and number != 3:
                    counted[each] += flat(algorithm.update.decode(sent).update)
            after, _, new = algorithm.run_round(
                state,
                [blocks[each] for each in in_time],
                [kept[each] for each in in_time],
            )
            if number == 3:
                in_vain += in_time
            else:
                kept |= dict(zip(in_time, new))
            if in_vain:
                back = algorithm.put_back(
                    state,
                    [blocks[each] for each in in_vain],
                    [kept[each] for each in in_vain],
                )
                kept |= dict(zip(in_vain, back))
            state = state if number == 3 else after
    for each in names[:4]:
        assert np.linalg.norm(counted[each]) > 1e-3
        np.testing.assert_allclose(
            counted[each] + memory(kept[each]), updates[each], atol=2e-6
        )


def test_an_update_that_is_too_large_for_any_mean_is_not_put_back():
    hook = Compressed(code_of("ef_sign"))
    before = {"memory": [tf.ones([3])]}
    rest = {"memory": [tf.zeros([3])]}
    for size, expected in ((5.0, 5.0), (1e30, 1.0), (np.inf, 1.0)):
        (kept,) = hook.put_back(before, rest, [tf.fill([3], size)])["memory"]
        np.testing.assert_array_equal(kept, [expected] * 3)


def test_codes_without_a_memory_have_nothing_to_put_back():
    assert not Compressed(code_of("drive")).puts_back


def finished(key, accepted=True):
    return Finished(
        (),
        {"key": tf.constant(key, tf.int64)},
        tf.constant(1),
        tf.constant(0.1),
        (),
        tf.constant(accepted),
    )


@pytest.mark.parametrize("name", CODES)
def test_weight_and_update_arrive_by_the_bytes_alone(name):
    hook = Compressed(code_of(name))
    specs = [tf.TensorSpec([8, 6]), tf.TensorSpec([6])]
    draw = np.random.default_rng(0)
    update = [
        tf.constant(draw.normal(size=spec.shape), tf.float32) for spec in specs
    ]
    message = Message(update, tf.constant(17.25), {})
    state = hook.initial_state(specs) or ()
    sent, state = hook.message(message, state, finished(3))
    assert sent.update.dtype == tf.uint8
    received = hook.decoded(tf.constant(sent.update.numpy()), specs)
    assert float(received.weight) == 17.25
    if name in WITH_MEMORY:
        np.testing.assert_allclose(
            flat(received.update) + flat(state["memory"]),
            flat(update),
            atol=1e-6,
        )


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_a_client_that_is_rejected_gives_nothing_of_its_memory_away(name):
    hook, specs = Compressed(code_of(name)), [tf.TensorSpec([8, 6])]
    state = dict(hook.initial_state(specs), memory=[tf.ones([8, 6])])
    nothing = Message([tf.zeros([8, 6])], tf.constant(0.0), {})
    sent, _ = hook.message(nothing, state, finished(3, accepted=False))
    received = hook.decoded(sent.update, specs)
    assert not flat(received.update).any()


def test_weight_zero_and_bytes_are_what_the_round_measured():
    task = small_training.task_of(small_training.dense)
    hook = Compressed(code_of("ef_sign"))
    algorithm = algorithm_of(task, [hook])
    blocks = small_training.blocks(task, 1)[:3]
    specs = [
        tf.TensorSpec(value.shape)
        for value in small_training.start(task).trainable
    ]
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        weights = algorithm.model_weights(state)
        lengths = [
            len(
                algorithm.update.computation(
                    {
                        "weights": weights,
                        "data": block,
                        "states": algorithm.initial_kept_state,
                    }
                )[0]
            )
            for block in blocks
        ]
        _, metrics, _ = algorithm.run_round(
            state, blocks, [algorithm.initial_kept_state] * 3
        )
    # Signs of dead units take bits of their own, so lengths differ.
    mean = algorithm.measure(metrics)["bytes_up"]
    assert mean == pytest.approx(np.mean(lengths), abs=0.05)
    assert algorithm.bytes_up == hook.trial_bytes(specs) <= max(lengths)


class Chatty(ClientHook):
    """Sends a number beside the update."""

    name = "chatty"

    def message(self, message, state, client):
        return message._replace(extras={"chatty": tf.constant(1.0)}), state


def test_an_algorithm_that_sends_more_than_the_update_is_refused():
    task = small_training.task_of(small_training.dense)
    with pytest.raises(errors.ConfigError, match="also send chatty"):
        algorithm_of(task, [Chatty(), Compressed(code_of("drive"))])


def test_what_encodes_is_the_last_hook():
    task = small_training.task_of(small_training.dense)
    with pytest.raises(ValueError, match="not the last"):
        algorithm_of(task, [Compressed(code_of("drive")), Chatty()])


def test_only_who_holds_the_model_before_receives_the_code():
    task = small_training.task_of(small_training.dense)
    code = ModelCode(code_of("uniform", bits=8), 0)
    algorithm = algorithm_of(task, [], code)
    names = list(task.train.client_ids)
    kept = {each: algorithm.initial_kept_state for each in names}
    whole = algorithm.bytes_down
    cohorts = [(0, 1, 2), (1, 2, 3), (0, 4), (0, 4, 1)]
    # Of each cohort, who was in the one before.
    holders, seen = [0, 2, 0, 2], []
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        for number, cohort in enumerate(cohorts, 1):
            x = flat(algorithm.model_weights(state).trainable)
            blocks = [
                drawn_block(task.train.load(names[i]), 0, number, i)
                for i in cohort
            ]
            rows = [kept[names[i]] for i in cohort]
            state, metrics, rows = algorithm.run_round(state, blocks, rows)
            kept |= {names[i]: row for i, row in zip(cohort, rows)}
            seen.append(algorithm.measure(metrics)["bytes_down"])
            # Clients began with the server's copy, which follows the model.
            copy = flat(state.distributor["copy"])
            if number == 1:
                np.testing.assert_array_equal(copy, x)
            assert np.linalg.norm(copy - x) < 0.02 * np.linalg.norm(x)
    specs = [
        tf.TensorSpec(w.shape) for w in algorithm.model_weights(state).trainable
    ]
    leaves = [tf.zeros(spec.shape) for spec in specs]
    payload, _ = code.compressor.encode(
        leaves, (), tf.constant([0, 0], "int64")
    )
    saved = sum(4 * spec.shape.num_elements() for spec in specs) - len(payload)
    expected = [
        whole - saved * count / len(cohort)
        for count, cohort in zip(holders, cohorts)
    ]
    np.testing.assert_allclose(seen, expected, atol=0.05)


def test_a_code_that_would_lead_away_from_the_model_is_not_sent():
    specs = [tf.TensorSpec([512])]
    # One bit and its noise: of 512 like numbers the error exceeds them.
    code = ModelCode(code_of("qsgd", bits=2), 0)
    state = dict(code.initial_state(specs), copy=[tf.zeros([512])])
    model = [tf.ones([512])]
    weights, size, after = code.send(model, state, tf.constant(2))
    assert int(size) == -1
    np.testing.assert_array_equal(weights[0], model[0])
    np.testing.assert_array_equal(after["copy"][0], model[0])


def test_a_clip_holds_for_what_was_decoded():
    """Sensitivity: random rounding makes updates longer, not the sum."""
    task = small_training.task_of(small_training.dense)
    clip = tff.aggregators.clipping_factory(1e-3, WeightedMeanFactory())
    hook = Compressed(code_of("qsgd", bits=2))
    algorithm = algorithm_of(task, [hook], factory=clip)
    (block,) = small_training.blocks(task, 1)[1:2]
    with InProcessContext(1):
        state = algorithm.initial_state(small_training.start(task))
        before = flat(algorithm.model_weights(state).trainable)
        state, _, _ = algorithm.run_round(state, [block], ())
        after = flat(algorithm.model_weights(state).trainable)
    assert np.linalg.norm(after - before) == pytest.approx(1e-3, rel=1e-2)
