"""FedNova: published values, and FedAvg where all take the same steps."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import control_variates, quadratics
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


@pytest.mark.parametrize(
    ("momentum", "expected"), [(0.0, 4.52438125), (0.9, 12.25144375)]
)
def test_a_proximal_term_moves_clients_by_what_they_are_divided_by(
    momentum, expected
):
    pull = quadratics.RATE * 0.5
    norm = fed_nova.accumulated(tf.constant(5.0), momentum, tf.constant(pull))
    assert float(norm) == pytest.approx(expected, rel=1e-6)
    # The gradients of linear losses are what they are, wherever a client is.
    made = quadratics.algorithm(
        "fed_nova",
        optimizer="momentum" if momentum else "sgd",
        loss=control_variates.linear_model_fn,
        fed_prox_mu=0.5,
    )
    alone, both = (
        xs(made, [cohort], data={0: (2.0, 0.0), 1: (-1.0, 0.0)}, steps=steps)
        for cohort, steps in (([0], {0: 5}), ([0, 1], {0: 5, 1: 1}))
    )
    rate = quadratics.RATE
    assert alone == pytest.approx([-rate * expected * 2], rel=1e-6)
    # The mean progress a step, (2 - 1) / 2, times the mean of ||a||_1.
    assert both == pytest.approx([-rate * (expected + 1) / 2 / 2], rel=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", [0.250193032, 0.413692795, 0.520538985]),
        ("momentum", [0.438001038, 0.613885375, 0.684513747]),
    ],
)
def test_a_proximal_term_on_quadratics(optimizer, expected):
    # By the recursion of the module's docstring, in double precision.
    made = quadratics.algorithm(
        "fed_nova", optimizer=optimizer, fed_prox_mu=0.5
    )
    np.testing.assert_allclose(
        xs(made, [[0, 1]] * 3, steps=STEPS), expected, rtol=1e-6
    )


def test_a_term_of_no_weight_changes_nothing_to_the_bit():
    # The least is computed in another way than none at all.
    none, least = (
        quadratics.algorithm("fed_nova", fed_prox_mu=mu) for mu in (0.0, 1e-30)
    )
    rounds = [[0, 1], [1], [0, 1]]
    assert xs(none, rounds, steps=STEPS) == xs(least, rounds, steps=STEPS)


def test_a_term_that_overshoots_is_refused():
    config = ExperimentConfig(
        algorithm=AlgorithmConfig("fed_nova", fed_prox_mu=30.0),
        clients=ClientConfig(optimizer=OptimizerConfig("client", "sgd", 0.1)),
    )
    with pytest.raises(errors.ConfigError, match="at most 1; choose a"):
        fed_nova.FedNova.check(config)


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
