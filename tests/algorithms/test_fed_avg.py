"""Federated averaging against closed forms, in this process."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.blocks import drawn_block, orders_of
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

RATE = 0.5


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext():
        yield


def softmax_task(examples):
    """Softmax regression from zero weights: its gradient is a closed form."""

    def model_fn():
        return tf.keras.Sequential(
            [
                tf.keras.Input([3]),
                tf.keras.layers.Dense(
                    2, kernel_initializer="zeros", use_bias=False
                ),
            ]
        )

    clients = InMemoryData(examples, {"all": np.arange(len(examples))})
    return Task("softmax", clients, examples, model_fn)


def gradient(weights, examples):
    """Of the mean cross-entropy of softmax(x @ weights), by hand."""
    logits = examples.x @ weights
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = odds / odds.sum(axis=1, keepdims=True) - np.eye(2)[examples.y]
    return examples.x.T @ error / len(examples)


def examples_of(seed, count):
    draw = np.random.default_rng(seed)
    return Examples(
        draw.normal(size=[count, 3]).astype(np.float32),
        draw.integers(2, size=count).astype(np.int32),
    )


def build(clients=None, server=None):
    clients = clients or ClientConfig(
        batch_size=100, optimizer=OptimizerConfig("client", "sgd", RATE)
    )
    task = softmax_task(examples_of(0, 4))
    return fed_avg.build(task.tff_model_fn, clients, server or ServerConfig())


def run(process, cohorts, clients=None):
    """The weights after each round of `cohorts`, lists of Examples."""
    clients = clients or ClientConfig(batch_size=100)
    state, after = process.initialize(), []
    for number, cohort in enumerate(cohorts):
        datasets = [
            drawn_block(examples, 0, number, client)
            for client, examples in enumerate(cohort)
        ]
        state = process.next(state, datasets).state
        after.append(process.get_model_weights(state).trainable[0])
    return after


@pytest.fixture(scope="module")
def plain_process():
    return build()


def test_one_client_one_step_is_one_step_of_sgd(plain_process):
    examples = examples_of(1, 5)
    (weights,) = run(plain_process, [[examples]])
    expected = -RATE * gradient(np.zeros([3, 2]), examples)
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)


class Turned(tf.keras.layers.Layer):
    """What it is given, with its sign turned if it is of a large batch."""

    def call(self, inputs):
        if tf.shape(inputs)[0] > 4:
            return -inputs
        return inputs


class HalvedForLargeBatches(tf.keras.losses.Loss):
    def call(self, y_true, y_pred):
        losses = tf.keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=True
        )
        if tf.shape(y_true)[0] > 4:
            return losses / 2
        return losses


@pytest.mark.parametrize(("count", "factor"), [(3, 1.0), (5, -0.5)])
def test_layers_and_losses_may_branch_on_tensors(count, factor):
    examples = examples_of(1, count)
    plain = softmax_task(examples)
    task = dataclasses.replace(
        plain,
        model_fn=lambda: tf.keras.Sequential(
            [tf.keras.Input([3]), Turned(), *plain.build_model().layers]
        ),
        loss_fn=HalvedForLargeBatches,
    )
    clients = ClientConfig(
        batch_size=100, optimizer=OptimizerConfig("client", "sgd", RATE)
    )
    process = fed_avg.build(task.tff_model_fn, clients, ServerConfig())
    (weights,) = run(process, [[examples]])
    expected = -RATE * factor * gradient(np.zeros([3, 2]), examples)
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)


def test_mean_of_two_clients_is_weighted_by_their_examples(plain_process):
    small, large = examples_of(1, 1), examples_of(2, 3)
    (weights,) = run(plain_process, [[small, large]])
    start = np.zeros([3, 2])
    expected = -RATE * (gradient(start, small) + 3 * gradient(start, large)) / 4
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)


def test_uniform_weighting_counts_clients_not_examples():
    clients = ClientConfig(
        batch_size=100,
        weighting="uniform",
        optimizer=OptimizerConfig("client", "sgd", RATE),
    )
    small, large = examples_of(1, 1), examples_of(2, 3)
    (weights,) = run(build(clients), [[small, large]])
    start = np.zeros([3, 2])
    expected = -RATE * (gradient(start, small) + gradient(start, large)) / 2
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-7)


def test_epochs_and_partial_batches_are_steps_in_the_stated_order():
    clients = ClientConfig(
        batch_size=2,
        epochs_per_round=2,
        optimizer=OptimizerConfig("client", "sgd", RATE),
    )
    examples = examples_of(3, 5)
    (weights,) = run(build(clients), [[examples]], clients)
    expected = np.zeros([3, 2])
    for order in orders_of(drawn_block(examples, 0, 0, 0), 2):
        for begin in range(0, 5, 2):
            batch = examples.take(order[begin : begin + 2])
            expected = expected - RATE * gradient(expected, batch)
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-6)


def test_server_momentum_adds_up_over_rounds():
    server = ServerConfig(OptimizerConfig("server", "momentum", 1.0, 0.9))
    examples = examples_of(1, 5)
    first, second = run(build(server=server), [[examples], [examples]])
    step_1 = RATE * gradient(np.zeros([3, 2]), examples)
    step_2 = RATE * gradient(-step_1, examples)
    np.testing.assert_allclose(first, -step_1, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        second, -step_1 - (0.9 * step_1 + step_2), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "name", ["adam", "adamw", "yogi", "adagrad", "rmsprop"]
)
def test_adaptive_optimizers_work_on_either_side(name):
    clients = ClientConfig(
        batch_size=100, optimizer=OptimizerConfig("client", name, 0.1)
    )
    server = ServerConfig(OptimizerConfig("server", name, 0.1))
    examples = examples_of(1, 5)
    (weights,) = run(build(clients, server), [[examples]])
    direction = gradient(np.zeros([3, 2]), examples)
    # Both sides precondition by positive numbers: signs stay.
    np.testing.assert_array_equal(np.sign(weights), -np.sign(direction))


def test_adam_on_the_server_takes_reddis_first_step():
    server = ServerConfig(
        OptimizerConfig("server", "adam", 0.1, beta_1=0.9, beta_2=0.99)
    )
    examples = examples_of(1, 5)
    (weights,) = run(build(server=server), [[examples]])
    # Bias-corrected, the first step is the rate against the sign.
    expected = -0.1 * np.sign(gradient(np.zeros([3, 2]), examples))
    np.testing.assert_allclose(weights, expected, rtol=1e-3)


def test_order_of_examples_is_a_function_of_seed_round_and_client():
    examples = examples_of(4, 9)

    def order(*key):
        return orders_of(drawn_block(examples, *key), 1)

    np.testing.assert_array_equal(order(0, 1, 2), order(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert (order(0, 1, 2) != order(*other)).any()


def test_each_epoch_sees_every_example_once_in_its_own_order():
    block = drawn_block(examples_of(4, 10), 0, 1, 2)
    first, second = orders_of(block, 2)
    assert sorted(first) == sorted(second) == list(range(10))
    assert (first != second).any()
