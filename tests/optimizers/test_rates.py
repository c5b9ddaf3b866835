"""A learning rate that is set from outside is as good as one built in."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import registry
from tff_pipeline.config import OptimizerConfig
from tff_pipeline.optimizers import rates
from tff_pipeline.optimizers.build import build_optimizer

SHAPES = ([3, 4], [4])
SPECS = tuple(tf.TensorSpec(shape) for shape in SHAPES)


def weights_after(optimizer, steps=7, rate=None):
    """Trains in a graph's loop, as clients do, and returns the weights."""
    draw = np.random.default_rng(5)
    start, pull = (
        tuple(draw.normal(size=shape).astype(np.float32) for shape in SHAPES)
        for _ in range(2)
    )

    @tf.function(autograph=False)
    def train(weights, outside):
        state = optimizer.initialize(SPECS)
        if rate is not None:
            state = rates.with_rate(optimizer, state, outside)

        def step(number, state, weights):
            gradients = tuple(w * p for w, p in zip(weights, pull))
            return number + 1, *optimizer.next(state, weights, gradients)

        return tf.while_loop(
            lambda number, *_: number < steps,
            step,
            (tf.constant(0), state, weights),
        )[2]

    outside = tf.constant(0.0 if rate is None else rate, tf.float32)
    return [w.numpy() for w in train(start, outside)]


@pytest.mark.parametrize("name", registry.OPTIMIZERS)
@pytest.mark.parametrize("rate", [0.1, 0.003])
def test_a_rate_from_outside_is_one_by_construction(name, rate):
    inside = build_optimizer(OptimizerConfig("client", name, rate))
    outside = build_optimizer(OptimizerConfig("client", name, 0.7))
    built, set_later, other = (
        weights_after(inside),
        weights_after(outside, rate=rate),
        weights_after(outside),
    )
    for first, second, third in zip(built, set_later, other):
        np.testing.assert_array_equal(first, second)
        assert (first != third).any()


@pytest.mark.parametrize("name", registry.OPTIMIZERS)
def test_setting_a_rate_changes_nothing_else_of_the_state(name):
    optimizer = build_optimizer(OptimizerConfig("client", name, 0.1))
    before = optimizer.initialize(SPECS)
    after = rates.with_rate(optimizer, before, 0.4)
    assert list(after) == list(before)
    assert (before.pop("learning_rate"), after.pop("learning_rate")) == (
        0.1,
        0.4,
    )
    tf.nest.map_structure(np.testing.assert_array_equal, before, after)


def test_an_optimizer_without_a_rate_in_its_state_is_refused():
    class Fixed(tff.learning.optimizers.Optimizer):
        def initialize(self, specs):
            return ()

        def next(self, state, weights, gradients):
            return state, weights

    with pytest.raises(ValueError, match="Fixed keeps no 'learning_rate'"):
        rates.with_rate(Fixed(), (), 0.1)
