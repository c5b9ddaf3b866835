"""Mime and MimeLite: published values, and one client that is not finite."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import number
from tff_pipeline import errors
from tff_pipeline.algorithms.mime import MimeLite
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext

EXPECTED = {
    "mime": [
        [0.0395, -0.2],
        [0.112599687, -0.370125],
        [0.212329797, -0.504962578],
    ],
    "mime_lite": [
        [0.0392, -0.2],
        [0.11202332, -0.3702],
        [0.21152042, -0.50517417],
    ],
}


@pytest.fixture(scope="module")
def made():
    with InProcessContext(2):
        yield {name: quadratics.algorithm(name) for name in EXPECTED}


def values(made, cohorts, **options):
    return [
        [row["x"], number(row["server"]["mime"]["s"])]
        for row in quadratics.play(made, cohorts, **options)
    ]


@pytest.mark.parametrize("name", list(EXPECTED))
def test_published_values(made, name):
    np.testing.assert_allclose(
        values(made[name], [[0, 1]] * 3), EXPECTED[name], rtol=1e-5
    )


def test_for_one_step_both_are_one(made):
    one = {0: 1, 1: 1}
    mime, lite = (
        values(made[name], [[0, 1], [1]], steps=one) for name in EXPECTED
    )
    np.testing.assert_allclose(mime, lite, rtol=1e-5)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_a_client_that_is_not_finite_is_left_out(made, name):
    # tff.learning's MimeLite would have a momentum of NaN for ever.
    with_one = values(made[name], [[0, 1]] * 3, data={1: (np.nan, 1.0)})
    alone = values(made[name], [[0]] * 3)
    np.testing.assert_allclose(with_one, alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", list(EXPECTED))
def test_a_round_of_nobody_changes_nothing(made, name):
    first, after = values(made[name], [[0, 1], []])
    assert first == after


def test_clients_keep_nothing(made):
    assert made["mime"].initial_kept_state is None
    assert made["mime_lite"].initial_kept_state is None


def test_another_optimizer_on_clients_is_refused():
    config = ExperimentConfig(
        algorithm=AlgorithmConfig("mime_lite"),
        clients=ClientConfig(
            optimizer=OptimizerConfig("client", "momentum", 0.1)
        ),
    )
    with pytest.raises(errors.ConfigError, match="leave --client_optimizer"):
        MimeLite.check(config)
