"""Training with frozen weights: the same model, and nothing of them is sent."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import frozen_words
from tests.testing.blocks import drawn_block
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.models import frozen
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.runs import state_files
from tff_pipeline.runtime import graphs
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker

CONFIG = ClientConfig(
    batch_size=8, optimizer=OptimizerConfig("client", "momentum", 0.1)
)
SERVER = ServerConfig(OptimizerConfig("server", "adam", 0.01))
ROUNDS = 3


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen") / "base"
    return frozen.store(
        str(folder), {frozen_words.NAME: frozen_words.vectors()}
    )


@pytest.fixture(scope="module")
def task(base):
    return frozen_words.task(frozen_words.frozen_model_fn(base))


def build(task):
    return fed_avg.build(task.tff_model_fn, CONFIG, SERVER)


def train(task, process):
    """The state after three rounds of all clients."""
    state = process.initialize()
    for number in range(ROUNDS):
        cohort = [
            drawn_block(task.train.load(client), 0, number, position)
            for position, client in enumerate(task.train.client_ids)
        ]
        state = process.next(state, cohort).state
    return state


@pytest.fixture(scope="module")
def process(task):
    return build(task)


@pytest.fixture(scope="module")
def state(task, process):
    with InProcessContext(2):
        return train(task, process)


def arrays_of(state):
    return list(state_files.flatten(state).values())


def test_trains_to_the_bits_of_the_model_whose_embedding_travels(task, state):
    ordinary = dataclasses.replace(
        task,
        model_fn=frozen_words.ordinary_model_fn(frozen_words.vectors()),
    )
    assert ordinary.frozen_weights == ()
    with InProcessContext(2):
        after = train(ordinary, build(ordinary)).global_model_weights
    ours = state.global_model_weights
    assert len(ours.trainable) == len(after.trainable) == 4
    for one, other in zip(ours.trainable, after.trainable):
        assert one.tobytes() == other.tobytes()
    assert np.abs(ours.trainable[0]).max() > 0
    # It does travel, and comes back as it was.
    assert after.non_trainable[0].shape == (20_000, 64)
    assert len(ours.non_trainable) == 0


def test_training_moves_the_head(task, process, state):
    with InProcessContext():
        before = process.initialize().global_model_weights.trainable
    after = state.global_model_weights.trainable
    assert all(not np.array_equal(a, b) for a, b in zip(before, after))


def test_tffs_own_worker_maps_the_same_file(task, process, state):
    with LocalWorker():
        after = train(task, process).global_model_weights.trainable
    for one, other in zip(state.global_model_weights.trainable, after):
        # The worker adds in an order of its own, and Adam magnifies what
        # differs where gradients are small; its steps are 1e-2.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_state_holds_no_frozen_number(task, state):
    sizes = [array.size for array in arrays_of(state)]
    head = 64 * 16 + 16 + 16 * 3 + 3
    # The weights, Adam's two moments, and its step and rates.
    assert 3 * head <= sum(sizes) <= 3 * head + 20
    groups = weight_groups(task.tff_model_fn())
    assert groups.num_bytes() == {
        "trainable": 4 * head,
        "non_trainable": 0,
        "frozen": 4 * 20_000 * 64,
    }


def test_computation_is_small(process):
    proto = process.next.to_building_block().proto
    assert proto.ByteSize() < 500_000


class MeanVector(tf.keras.Model):
    """A subclassed model, which makes its variables when it is called."""

    def __init__(self):
        super().__init__(name="net")
        self.words = tf.keras.layers.Embedding(20_000, 64, name="words")
        self.head = tf.keras.layers.Dense(3, name="head")

    def call(self, ids):
        return self.head(tf.reduce_mean(self.words(ids), axis=1))


def test_processes_of_tff_and_subclassed_models_map_the_file_too(tmp_path):
    base = frozen.store(
        str(tmp_path / "base"),
        {"net/words/embeddings": frozen_words.vectors()},
    )

    def model_fn():
        with frozen.using(base):
            model = MeanVector()
            model(tf.zeros([1, frozen_words.LENGTH], tf.int32))
        return model

    task = frozen_words.task(model_fn)
    process = tff.learning.algorithms.build_weighted_fed_avg(
        task.tff_model_fn,
        tff.learning.optimizers.build_sgdm(0.1),
        tff.learning.optimizers.build_sgdm(1.0),
    )
    data = task.train.load(task.train.client_ids[0])
    dataset = tf.data.Dataset.from_tensor_slices((data.x, data.y)).batch(20)
    with InProcessContext():
        state = process.initialize()
        output = process.next(state, [dataset])
    before, bias = process.get_model_weights(state).trainable
    after, moved = process.get_model_weights(output.state).trainable
    # A step of softmax regression on the mean vectors, by hand.
    x = frozen_words.vectors()[data.x].mean(axis=1)
    odds = np.exp(x @ before + bias)
    error = odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[data.y]
    np.testing.assert_allclose(
        after, before - 0.1 * x.T @ error / len(x), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        moved, -0.1 * error.mean(axis=0), rtol=0, atol=1e-6
    )


def test_evaluation_computes_with_the_frozen_weights(task, state):
    weights = state.global_model_weights
    measured = Evaluator(task).evaluate(weights, task.test)
    x = frozen_words.vectors()[task.test.x].mean(axis=1)
    kernel, bias, out, out_bias = weights.trainable
    logits = np.maximum(x @ kernel + bias, 0.0) @ out + out_bias
    right = np.mean(logits.argmax(axis=1) == task.test.y)
    assert measured["accuracy"] == pytest.approx(right, abs=1e-6)


def test_hashes_name_the_weights_by_content_alone(task, base, tmp_path):
    assert task.frozen_weights == (base,)
    assert task.frozen_hashes() == {"frozen weights 1": base.sha256}
    moved = frozen.store(
        str(tmp_path / "moved"), {frozen_words.NAME: frozen_words.vectors()}
    )
    other = frozen.store(
        str(tmp_path / "other"), {frozen_words.NAME: -frozen_words.vectors()}
    )
    hashes = [
        frozen_words.task(frozen_words.frozen_model_fn(each)).frozen_hashes()
        for each in (moved, other)
    ]
    assert hashes[0] == task.frozen_hashes() != hashes[1]


def test_graphs_of_clients_name_the_file(process, base):
    paths = set()

    def visit(block):
        if isinstance(block, tff.framework.CompiledComputation):
            paths.update(
                node.attr["memory_region_name"].s.decode()
                for node in graphs.all_nodes(graphs.Computation(block).graph)
                if node.op == "ImmutableConst"
            )
        return block, False

    block = tff.framework.to_call_dominant(process.next.to_building_block())
    tff.framework.transform_postorder(block, visit)
    assert paths == {base.arrays[frozen_words.NAME].path}
