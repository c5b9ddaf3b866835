"""Schedules of the learning rate follow their closed forms."""

import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import registry
from tff_pipeline.config import SCHEDULE_OPTIONS, OptimizerConfig
from tff_pipeline.optimizers import rates, schedules
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.runtime.in_process import InProcessContext


def config(schedule, decay=None, rounds=None, warmup=None, **more):
    options = {"side": "client", "learning_rate": 0.5, **more}
    return OptimizerConfig(
        lr_schedule=schedule,
        lr_decay=decay,
        lr_decay_rounds=rounds,
        lr_warmup_rounds=warmup,
        **options,
    )


def factors(options, last):
    return [schedules.factor(options, t) for t in range(1, last + 1)]


@st.composite
def configs(draw):
    schedule = draw(st.sampled_from(list(SCHEDULE_OPTIONS)))
    warmup = draw(st.none() | st.integers(1, 50))
    if schedule == "constant":
        return config(schedule, warmup=warmup)
    return config(
        schedule,
        draw(st.none() | st.floats(1e-3, 0.999)),
        draw(st.integers(1, 50)),
        warmup,
    )


def test_constant_is_the_rate_in_every_round():
    assert factors(config("constant"), 1000) == [1.0] * 1000


def test_warm_up_rises_in_equal_steps_to_the_rate():
    options = config("constant", warmup=4)
    assert factors(options, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_step_halves_after_every_ten_rounds():
    options = config("step", 0.5, 10)
    assert factors(options, 30) == [1.0] * 10 + [0.5] * 10 + [0.25] * 10


def test_exponential_has_the_share_left_after_its_rounds():
    values = factors(config("exponential", 0.1, 20), 41)
    assert values[0] == 1.0
    assert values[10] == pytest.approx(math.sqrt(0.1), rel=1e-12)
    assert values[20] == pytest.approx(0.1, rel=1e-12)
    assert values[40] == pytest.approx(0.01, rel=1e-12)
    ratios = [after / before for before, after in zip(values, values[1:])]
    assert ratios == pytest.approx([0.1 ** (1 / 20)] * 40, rel=1e-12)


def test_cosine_goes_to_nothing_by_way_of_a_half():
    values = factors(config("cosine", rounds=12), 20)
    assert values[0] == 1.0
    assert values[4] == pytest.approx(0.75, rel=1e-12)
    assert values[6] == pytest.approx(0.5, rel=1e-12)
    assert values[8] == pytest.approx(0.25, rel=1e-12)
    assert values[12:] == [0.0] * 8


def test_linear_goes_to_nothing_in_equal_steps_and_stays():
    values = factors(config("linear", rounds=5), 8)
    assert values == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_decay_ends_at_the_share_that_is_left(schedule):
    values = factors(config(schedule, 0.2, 10), 30)
    assert values[5] == pytest.approx(0.6, rel=1e-12)
    assert values[10:] == pytest.approx([0.2] * 20, rel=1e-12)


@pytest.mark.parametrize("schedule", ["step", "exponential", "cosine"])
def test_a_decay_follows_the_warm_up(schedule):
    warm = factors(config(schedule, 0.5, 7, warmup=5), 40)
    assert warm[:4] == [0.2, 0.4, 0.6, 0.8]
    assert warm[4:] == factors(config(schedule, 0.5, 7), 36)


@given(configs(), st.integers(1, 2**31 - 1))
def test_a_factor_is_between_nothing_and_all(options, round_number):
    assert 0 <= schedules.factor(options, round_number) <= 1


@given(configs())
def test_factors_rise_in_the_warm_up_and_never_after(options):
    warmup = options.lr_warmup_rounds or 1
    values = factors(options, 120)
    assert values[0] == pytest.approx(1 / warmup)
    assert values[warmup - 1] == 1.0
    assert sorted(values[:warmup]) == values[:warmup]
    assert sorted(values[warmup - 1 :], reverse=True) == values[warmup - 1 :]


@given(configs())
def test_all_decays_leave_the_same_share_after_their_rounds(options):
    if options.lr_schedule == "constant":
        return
    end = (options.lr_warmup_rounds or 1) + options.lr_decay_rounds
    left = schedules.factor(options, end)
    assert left == pytest.approx(options.lr_decay, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULE_OPTIONS)
def test_the_graph_computes_the_same_factors(schedule):
    rounds = None if schedule == "constant" else 30
    options = config(schedule, rounds=rounds, warmup=3)
    in_graph = tf.function(
        lambda t: schedules.factor_in(tf, options, tf.cast(t, tf.float64))
    )
    values = [in_graph(tf.constant(t)).numpy() for t in range(1, 100)]
    assert values == pytest.approx(factors(options, 99), rel=1e-12, abs=1e-15)


def test_factors_need_no_tensorflow():
    code = (
        "import sys, tff_pipeline.optimizers.schedules; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == 0


# The server optimizer.


def server(**options):
    return config(
        "step", 0.5, 2, 2, side="server", learning_rate=0.8, **options
    )


@pytest.mark.parametrize("name", ["sgd", "adam", "fedadam"])
def test_the_servers_steps_have_the_rates_of_their_rounds(name):
    optimizer = build_optimizer(server(name=name))
    plain = build_optimizer(OptimizerConfig("server", name, 0.8))
    weights = expected = tf.constant([1.0, -2.0])
    state = optimizer.initialize(tf.TensorSpec([2]))
    by_hand = plain.initialize(tf.TensorSpec([2]))
    gradients = tf.constant([0.3, 0.7])
    for rate in (0.4, 0.8, 0.8, 0.4, 0.4, 0.2):
        state, weights = optimizer.next(state, weights, gradients)
        by_hand = rates.with_rate(plain, by_hand, tf.constant(rate))
        by_hand, expected = plain.next(by_hand, expected, gradients)
        assert weights.numpy().tolist() == expected.numpy().tolist()


def test_sgds_scheduled_steps_add_up():
    optimizer = build_optimizer(server(name="sgd"))
    weights = tf.constant(0.0)
    state = optimizer.initialize(tf.TensorSpec([]))
    for _ in range(6):
        state, weights = optimizer.next(state, weights, tf.constant(-1.0))
    assert weights.numpy() == pytest.approx(3.0)


@pytest.mark.parametrize("name", registry.OPTIMIZERS)
def test_the_servers_schedule_is_kept_in_the_state_of_a_process(name):
    weights_type = tff.to_type(
        tff.learning.models.ModelWeights(
            trainable=[tff.TensorType(np.float32, [2])], non_trainable=[]
        )
    )
    finalizer = tff.learning.templates.build_apply_optimizer_finalizer(
        build_optimizer(server(name=name)), weights_type
    )
    weights = tff.learning.models.ModelWeights([np.zeros(2, np.float32)], [])
    update = [np.float32([-1.0, -1.0])]
    counted = []
    with InProcessContext():
        state = finalizer.initialize()
        for _ in range(4):
            output = finalizer.next(state, weights, update)
            state, weights = output.state, output.result
            counted.append((state["round_num"], weights.trainable[0][0]))
    assert [count for count, _ in counted] == [1, 2, 3, 4]
    assert state["optimizer"]["learning_rate"] == np.float32(0.4)
    if name == "sgd":
        assert [w for _, w in counted] == pytest.approx([0.4, 1.2, 2.0, 2.4])


def test_a_constant_rate_adds_nothing_to_the_servers_state():
    constant = build_optimizer(OptimizerConfig("server", "sgd", 1.0))
    assert dict(constant.initialize(tf.TensorSpec([2]))) == {
        "learning_rate": 1.0
    }
