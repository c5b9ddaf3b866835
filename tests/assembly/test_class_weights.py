"""--class_weights, from the flag to what clients learn."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import small_training as small
from tests.testing.blocks import drawn_block
from tff_pipeline import errors
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.assembly.privacy import protect
from tff_pipeline.assembly.task import initial_weights, weighted
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    ServerConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.evaluation import central, scores
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task


def linear():
    return tf.keras.Sequential(
        [tf.keras.Input([2]), tf.keras.layers.Dense(2, name="only")]
    )


def unbalanced():
    """Four clients; one example in 25 is "rare", and they overlap."""
    draw = np.random.default_rng(0)
    y = (np.arange(1000) % 25 == 0).astype(np.int32)
    x = draw.normal(size=[1000, 2]) + 1.5 * y[:, np.newaxis]
    examples = Examples(x.astype(np.float32), y)
    parts = np.split(np.arange(1000), [100, 300, 600])
    clients = {f"client {i}": part for i, part in enumerate(parts)}
    return Task(
        "unbalanced",
        InMemoryData(examples, clients),
        examples,
        linear,
        classes=["frequent", "rare"],
    )


@pytest.fixture(scope="module")
def task():
    return unbalanced()


def test_balanced_ones_are_counted_from_training_labels(task):
    counted = weighted(task, "balanced")
    loss = counted.clients_loss()
    # 1000 / (2 * 960) and 1000 / (2 * 40).
    for label, weight in ((0, 1000 / 1920), (1, 1000 / 80)):
        given = loss(tf.constant([label]), tf.zeros([1, 2]))
        assert float(given) == pytest.approx(weight * np.log(2), rel=1e-5)
    assert counted.notes == (
        "Weights of classes in the training loss: frequent 0.5208, rare 12.5."
    )
    # Evaluation has none.
    plain = counted.loss_fn()(tf.constant([1]), tf.zeros([1, 2]))
    assert float(plain) == pytest.approx(np.log(2), rel=1e-5)
    assert weighted(task, None) is task


@pytest.mark.parametrize(("weights", "count"), [("1", 1), ("1,2,3", 3)])
def test_as_many_are_needed_as_there_are_classes(task, weights, count):
    with pytest.raises(errors.ConfigError) as caught:
        weighted(task, weights)
    assert str(caught.value) == (
        f"--class_weights={weights} has {count} numbers, and "
        "--task=unbalanced 2 classes, in this order: frequent, rare; give one "
        "for each."
    )


def test_a_task_of_anything_but_classes_is_refused(task):
    numbers = dataclasses.replace(
        task, loss_fn=tf.keras.losses.MeanSquaredError, metrics_fn=list
    )
    for weights in ("balanced", "1,2"):
        with pytest.raises(errors.ConfigError, match="that predict a class"):
            weighted(numbers, weights)


def test_the_rare_class_is_found_where_it_counts_as_much(task):
    clients = ClientConfig(
        batch_size=20, optimizer=OptimizerConfig("client", "sgd", 0.2)
    )
    found = {}
    with InProcessContext(1):
        for weights in (None, "balanced", "1,1"):
            mine = weighted(task, weights)
            process = fed_avg.build(mine.tff_model_fn, clients, ServerConfig())
            state = process.set_model_weights(
                process.initialize(), initial_weights(mine, 0)
            )
            for number in range(1, 6):
                output = process.next(state, small.blocks(mine, number))
                state = output.state
            found[weights] = process.get_model_weights(state)
    evaluator = central.Evaluator(task)
    recall = {}
    for weights, trained in found.items():
        evaluator.assign(trained)
        report = scores.score_test_set(evaluator, task, 0.5)
        recall[weights] = report["classes"]["recall"][1]
    assert recall[None] < 0.4
    assert recall["balanced"] > 0.75
    # Weights of 1 are the loss without weights.
    for a, b in zip(found[None].trainable, found["1,1"].trainable):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_dp_sgd_weighs_examples_before_it_clips_them(task, tmp_path):
    # As many as the largest client has: every example is in the batch.
    options = {"batch_size": 400, "steps_per_round": 1, "dp_delta": 1e-5}
    config = ExperimentConfig(
        clients=ClientConfig(
            class_weights="1,3.5", dp_target_epsilon=3.0, dp_clip=1e6, **options
        )
    )
    mine = weighted(task, config.clients.class_weights)
    directory = RunDirectory(str(tmp_path))
    hook = protect(config, mine, 6, directory, False).example_hook
    model = mine.tff_model_fn()
    (block,) = drawn_block(task.train.load("client 0"), noise_multiplier=0.0)
    block = {name: tf.constant(value) for name, value in block.items()}
    found = hook.gradient(model, block, tf.constant(0))
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            block["y"], model.predict_on_batch(block["x"], training=True)
        )
        loss = tf.reduce_mean(losses * tf.where(block["y"] == 1, 3.5, 1.0))
    expected = tape.gradient(loss, model.trainable_variables)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
