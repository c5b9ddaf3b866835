"""Client hooks, by an algorithm that uses all that a hook may do.

SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II) keeps a control
variate on each client, has one at the server that travels with the model,
corrects every gradient and adds to the message. Here it is a hook of the
test's own, held to values that were worked out by hand.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.control_variates import (
    CLIENTS,
    RATE,
    Scaffold,
    block_of,
    model_fn,
    play,
)
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.kept_state import KeptStateProcess
from tff_pipeline.client_work.local_noise import LocalNoise
from tff_pipeline.client_work.update import build_client_update
from tff_pipeline.config import ServerConfig
from tff_pipeline.runtime.in_process import InProcessContext


@pytest.fixture(scope="module")
def whole():
    with InProcessContext(2):
        yield fed_avg.build(
            model_fn, CLIENTS, ServerConfig(), hooks=[Scaffold(1.0)]
        )


def test_a_hook_may_use_all_doors_at_once(whole):
    assert isinstance(whole, KeptStateProcess)
    history, _ = play(whole, [[0, 1]] * 3)
    expected = [
        [0.32, -1.6, 0, -3.2],
        [0.5312, -1.056, 0.384, -2.496],
        [0.652352, -0.60576, 0.57664, -1.78816],
    ]
    np.testing.assert_allclose(history, expected, rtol=1e-5, atol=1e-6)
    # The server's variate is the mean of all clients' after every round.
    for _, c, first, second in history:
        assert c == pytest.approx((first + second) / 2, abs=1e-6)


class Length(ClientHook):
    """Sends the length of the update beside it."""

    name = "length"

    def message(self, message, state, client):
        length = tf.linalg.global_norm(tf.nest.flatten(message.update))
        extras = {**message.extras, self.name: length}
        return message._replace(extras=extras), state


class Rounds(ClientHook):
    """Counts, on the client, the rounds that it took part in."""

    name = "rounds"

    def initial_state(self, specs):
        return np.int32(0)

    def message(self, message, state, client):
        return message, state + 1


class Doubled(ClientHook):
    """Has a number at the server that doubles in every round."""

    name = "doubled"

    def initial_server_value(self, specs):
        return np.float32(1)

    def at_server(self, value, mean):
        return mean.update, 2 * value


@pytest.mark.parametrize(
    "hooks",
    [[Length], [Rounds], [Doubled], [Length, Rounds, Doubled]],
    ids=lambda hooks: "+".join(hook.name for hook in hooks),
)
def test_a_hook_may_use_one_door_alone(hooks):
    with InProcessContext(2):
        process = fed_avg.build(
            model_fn, CLIENTS, ServerConfig(), hooks=[h() for h in hooks]
        )
        state, kept = process.initialize(), [process.initial_kept_state] * 2
        for number in (1, 2):
            blocks = [block_of(number, client) for client in (0, 1)]
            state, _, kept = process.next(state, blocks, kept)
    # None of them changes what is learned.
    np.testing.assert_allclose(
        state.global_model_weights.trainable[0], [0.5072], rtol=1e-5
    )
    assert [dict(row) for row in kept] == [
        {"rounds": 2} if Rounds in hooks else {}
    ] * 2
    assert dict(state.client_work) == (
        {"doubled": 4} if Doubled in hooks else {}
    )


def test_who_is_absent_keeps_what_it_has():
    with InProcessContext(2):
        process = fed_avg.build(
            model_fn, CLIENTS, ServerConfig(), hooks=[Scaffold(0.5)]
        )
        history, _ = play(process, [[0], [1], [0]])
    expected = [
        [0, 0, 0, 0],
        [0.64, -1.6, 0, -3.2],
        [0.8224, -1.256, 0.688, -3.2],
    ]
    np.testing.assert_allclose(history, expected, rtol=1e-5, atol=1e-6)


def test_a_client_that_is_not_finite_keeps_its_state_and_adds_nothing(whole):
    sound, _ = play(whole, [[0, 1]])
    history, output = play(whole, [[0, 1], [0, 1]], {1: (np.nan, 1.0)})
    metrics = output.metrics["client_work"]
    assert metrics["rejected_clients"] == 1 and metrics["examples"] == 2
    for _, _, _, of_rejected in history:
        assert of_rejected == 0
    # The first client alone would have stayed at its optimum, 0.
    assert all(np.isfinite(row).all() for row in history)
    assert history[0] != sound[0]


def test_what_hooks_add_is_part_of_what_leaves_the_client():
    update = build_client_update(
        model_fn,
        tff.learning.optimizers.build_sgdm(RATE),
        CLIENTS,
        [Scaffold(1.0)],
    )
    sent = update.result_type.update
    assert [name for name, _ in tff.structure.iter_elements(sent)] == [
        "update",
        "control",
    ]
    assert update.extended and not update.is_plain


def test_a_clip_sees_all_that_leaves_the_client():
    clip = LocalNoise(0.5, 0.0, np.array([1, 2], np.int64))
    with InProcessContext(2):
        process = fed_avg.build(
            model_fn, CLIENTS, ServerConfig(), hooks=[Scaffold(1.0), clip]
        )
        state = process.initialize()
        output = process.next(
            state, [block_of(1, 1)], [process.initial_kept_state]
        )
    moved = output.state.global_model_weights.trainable[0]
    added = output.state.client_work["control"][0]
    # Client 2 alone: update -.64 and variate -3.2, clipped as one vector.
    length = np.hypot(0.64, 3.2)
    np.testing.assert_allclose(moved, [0.64 / length * 0.5], rtol=1e-4)
    np.testing.assert_allclose(added, [-3.2 / length * 0.5], rtol=1e-4)


def test_two_hooks_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="one name"):
        build_client_update(
            model_fn,
            tff.learning.optimizers.build_sgdm(RATE),
            CLIENTS,
            [Scaffold(1.0), Scaffold(1.0)],
        )


@pytest.mark.parametrize(("steps", "expected"), [(0, 0.64), (1, 0.4)])
def test_a_block_may_say_how_many_steps_its_client_takes(steps, expected):
    with InProcessContext(1):
        process = fed_avg.build(model_fn, CLIENTS, ServerConfig())
        (block,) = block_of(1, 1)
        block["steps"] = np.int32(steps)
        output = process.next(process.initialize(), [[block]])
    moved = process.get_model_weights(output.state).trainable[0]
    np.testing.assert_allclose(moved, [expected], rtol=1e-5)
