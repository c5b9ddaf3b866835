"""FedNova: published values, and FedAvg where all take the same steps."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import quadratics
from tff_pipeline import errors
from tff_pipeline.algorithms import fed_nova
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext

STEPS = {0: 1, 1: 3}


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext(2):
        yield


def xs(made, rounds, **options):
    return [row["x"] for row in quadratics.play(made, rounds, **options)]


def test_how_far_unit_gradients_move():
    def moved(steps, momentum):
        return float(fed_nova.accumulated(tf.constant(float(steps)), momentum))

    assert moved(7, 0.0) == 7
    assert moved(10, 0.9) == pytest.approx(41.381060, rel=1e-6)
    # Step by step.
    position = speed = 0.0
    for _ in range(6):
        speed = 0.5 * speed + 1
        position += speed
    assert moved(6, 0.5) == pytest.approx(position, rel=1e-6)


def test_published_values():
    made = quadratics.algorithm("fed_nova")
    np.testing.assert_allclose(
        xs(made, [[0, 1]] * 3, steps=STEPS),
        [0.261333333, 0.428238222, 0.534834811],
        rtol=1e-5,
    )


def test_published_values_with_weights_and_momentum():
    made = quadratics.algorithm(
        "fed_nova",
        {"weighting": "num_examples", "batch_size": 10},
        "momentum",
        examples=4,
    )
    np.testing.assert_allclose(
        xs(made, [[0, 1]] * 3, steps=STEPS, counts={1: 3}),
        [0.917720588, 0.890961610, 0.891741851],
        rtol=1e-5,
    )


def test_of_equal_steps_it_is_fed_avg():
    nova, avg = map(quadratics.algorithm, ("fed_nova", "fed_avg"))
    rounds = [[0, 1], [1], [0, 1]]
    np.testing.assert_allclose(xs(nova, rounds), xs(avg, rounds), rtol=1e-6)


def test_adam_is_refused():
    config = ExperimentConfig(
        algorithm=AlgorithmConfig("fed_nova"),
        clients=ClientConfig(optimizer=OptimizerConfig("client", "adam", 0.1)),
    )
    with pytest.raises(errors.ConfigError, match="known for sgd and momentum"):
        fed_nova.FedNova.check(config)
