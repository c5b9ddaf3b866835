"""FedPer, FedRep and FedRecon on f_i = (u + h_i - b_i)^2 / 2: u travels."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tests.testing.control_variates import Itself
from tff_pipeline import errors, registry
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.client_work import local_layers
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.runtime.in_process import InProcessContext

TARGETS, RATE, STEPS, ROUNDS, OWN_RATE = (0.0, 4.0), 0.1, 2, 3, 0.5
FIRST = (0.25, -0.5)


class Shift(tf.keras.layers.Layer):
    """Adds its weight x to the first of two inputs."""

    def build(self, _):
        self.x = self.add_weight("x", [1], initializer="zeros")

    def call(self, inputs):
        return tf.concat([inputs[:, :1] + self.x, inputs[:, 1:]], axis=1)


class HalfSquare(tf.keras.layers.Layer):
    def call(self, inputs):
        return tf.square(inputs[:, :1] - inputs[:, 1:]) / 2


def model_fn():
    model = tf.keras.Sequential(
        [
            tf.keras.Input([2]),
            Shift(name="shared"),
            Shift(name="head"),
            HalfSquare(),
        ]
    )
    specs = (
        tf.TensorSpec([None, 2], tf.float32),
        tf.TensorSpec([None], tf.int32),
    )
    return tff.learning.models.from_keras_model(
        model, Itself(), input_spec=specs
    )


def weights(_):
    return tff.learning.models.ModelWeights(
        [np.float32([each]) for each in FIRST], []
    )


def block(client, number):
    x = np.float32([[0.0, TARGETS[client]]])
    examples = Examples(x, np.zeros(1, np.int32))
    return drawn_block(examples, 0, number, client)


@pytest.fixture(scope="module")
def build():
    with InProcessContext(2):

        def built(name, pattern=None):
            config = ExperimentConfig(
                algorithm=AlgorithmConfig(
                    name, local_layers=pattern, personal_learning_rate=OWN_RATE
                ),
                clients=ClientConfig(
                    batch_size=1,
                    steps_per_round=STEPS,
                    weighting="uniform",
                    optimizer=OptimizerConfig("client", "sgd", RATE),
                ),
            )
            return registry.load(name, registry.ALGORITHMS)(
                AlgorithmContext(
                    config,
                    model_fn,
                    Aggregation(WeightedMeanFactory()),
                    population=2,
                    weight_names=["shared/x", "head/x"],
                    initial_weights=weights,
                )
            )

        yield built


def expected(name):
    """u, and the h of both clients, after each round: the papers' steps."""
    u, heads = FIRST[0], [FIRST[1]] * 2
    for _ in range(ROUNDS):
        ends = []
        for i, b in enumerate(TARGETS):
            mine, h = u, FIRST[1] if name == "fed_recon" else heads[i]
            if name == "fed_per":
                for _ in range(STEPS):
                    g = mine + h - b
                    mine, h = mine - RATE * g, h - OWN_RATE * g
            else:
                # One example: an epoch is a step.
                h -= OWN_RATE * (mine + h - b)
                for _ in range(STEPS):
                    mine -= RATE * (mine + h - b)
            heads[i] = h
            ends.append(mine)
        u = np.mean(ends)
        yield u, list(heads)


@pytest.mark.parametrize("name", ["fed_per", "fed_rep", "fed_recon"])
def test_the_papers_steps(build, name):
    made = build(name)
    state = made.initial_state(weights(0))
    kept = [made.initial_kept_state] * 2
    for number, (u, heads) in enumerate(expected(name), 1):
        rows = [] if name == "fed_recon" else kept
        state, _, rows = made.run_round(
            state, [block(0, number), block(1, number)], rows
        )
        kept = list(rows) or kept
        sent = state.global_model_weights.trainable
        np.testing.assert_allclose(sent, [[u]], rtol=1e-5)
        for client in (0, 1):
            own = made.client_weights(
                state, kept[client], lambda client=client: block(client, 9)
            )
            if name == "fed_recon":
                # From the server's weights after the round.
                start = FIRST[1]
                h = start - OWN_RATE * (u + start - TARGETS[client])
            else:
                h = heads[client]
            np.testing.assert_allclose(own.trainable, [[u], [h]], rtol=1e-5)


@pytest.mark.parametrize("name", ["fed_per", "fed_rep", "fed_recon"])
def test_the_message_has_no_place_for_local_layers(build, name):
    made = build(name)
    (only,) = tff.structure.flatten(made.update.result_type.update)
    assert (only.dtype, list(only.shape)) == (np.float32, [1])
    assert (made.bytes_down, made.bytes_up) == (4, 8)


def test_the_middle_may_stay_and_the_last_travel(build):
    made = build("fed_per", "^shared/")
    state = made.initial_state(weights(0))
    whole = made.model_weights(state, None)
    np.testing.assert_array_equal(np.ravel(whole.trainable), FIRST)
    np.testing.assert_array_equal(
        np.ravel(state.global_model_weights.trainable), FIRST[1]
    )


@pytest.mark.parametrize("pattern, found", [("nothing", "none"), ("x$", "all")])
def test_a_pattern_of_none_or_all_is_refused(pattern, found):
    with pytest.raises(
        errors.ConfigError,
        match=rf"--local_layers={pattern[:-1]}.* keeps {found} .* shared/x, ",
    ):
        local_layers.places(["shared/x", "head/x"], pattern)
