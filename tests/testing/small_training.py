"""A few clients, a small model and rounds of training, without a run."""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.tasks.task import Task

CLIENTS = ClientConfig(
    batch_size=4,
    epochs_per_round=2,
    optimizer=OptimizerConfig("client", "momentum", 0.01),
)
SERVER = ServerConfig(OptimizerConfig("server", "momentum", 0.5))
SIZES = (1, 9, 4, 30, 2, 17)


def task_of(model_fn):
    draw = np.random.default_rng(0)
    examples = Examples(
        draw.normal(size=[sum(SIZES), 5]).astype(np.float32),
        draw.integers(3, size=sum(SIZES)).astype(np.int32),
    )
    parts = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    clients = {f"client_{i}": part for i, part in enumerate(parts)}
    return Task("small", InMemoryData(examples, clients), examples, model_fn)


def dense():
    return tf.keras.Sequential(
        [
            tf.keras.Input([5]),
            tf.keras.layers.Dense(7, activation="relu"),
            tf.keras.layers.Dense(3),
        ]
    )


def with_dropout():
    return tf.keras.Sequential(
        [
            tf.keras.Input([5]),
            tf.keras.layers.Dense(16, activation="relu"),
            tf.keras.layers.Dropout(0.5),
            tf.keras.layers.Dense(3),
        ]
    )


def blocks(task, number):
    return [
        drawn_block(task.train.load(name), 0, number, i)
        for i, name in enumerate(task.train.client_ids)
    ]


def start(task):
    tf.keras.utils.set_random_seed(1)
    weights = tff.learning.models.ModelWeights.from_model(task.model_fn())
    return tf.nest.map_structure(lambda value: value.numpy(), weights)


def train(process, weights, rounds):
    """The trainable weights after `rounds`, lists of clients' data."""
    state = process.set_model_weights(process.initialize(), weights)
    for data in rounds:
        output = process.next(state, data)
        state = output.state
    return process.get_model_weights(state).trainable, output.metrics


def assert_close(ours, theirs, initial, tolerance=1e-5):
    """Within `tolerance` of the size of the update."""
    for a, b, c in zip(ours, theirs, initial):
        size = np.linalg.norm(b - c)
        assert size > 0
        assert np.linalg.norm(a - b) <= tolerance * size
