"""FedDyn: published values, h as the mean of all g_k, and its optimum."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import number
from tff_pipeline import errors
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext

EXPECTED = [
    [0.62, -0.155, 0, -0.31],
    [1.00285, -0.1732125, 0.05735, -0.403775],
    [1.110005375, -0.113395094, 0.14480875, -0.371598938],
]


@pytest.fixture(scope="module")
def history_of():
    with InProcessContext(2):
        made = quadratics.algorithm("fed_dyn", fed_dyn_alpha=0.5)

        def played(cohorts, **options):
            return [
                [
                    row["x"],
                    number(row["server"]["fed_dyn"]),
                    *(number(each["fed_dyn"]) for each in row["kept"]),
                ]
                for row in quadratics.play(made, cohorts, **options)
            ]

        yield played


def test_published_values(history_of):
    np.testing.assert_allclose(
        history_of([[0, 1]] * 3), EXPECTED, rtol=1e-5, atol=1e-6
    )


def test_h_is_the_mean_of_all_after_every_round(history_of):
    draw = np.random.default_rng(0)
    cohorts = [list(np.flatnonzero(draw.random(2) < 0.6)) for _ in range(12)]
    assert [] in cohorts and [0, 1] in cohorts
    for data in (None, {1: (np.nan, 1.0)}):
        for _, h, *each in history_of(cohorts, data=data):
            assert h == pytest.approx(np.mean(each), abs=1e-6)


def test_it_ends_at_the_optimum_of_all(history_of):
    # Without the quadratic term it would be 1, with its norm .7995.
    steps = {0: 40, 1: 40}
    history = history_of([[0, 1]] * 60, steps=steps)
    assert history[-1][0] == pytest.approx(0.8, abs=1e-4)


def test_weights_by_examples_are_refused():
    with pytest.raises(errors.ConfigError, match="every client counts the"):
        ExperimentConfig(
            algorithm=AlgorithmConfig("fed_dyn"),
            clients=ClientConfig(weighting="num_examples"),
        )
    settled = ExperimentConfig(algorithm=AlgorithmConfig("fed_dyn"))
    assert settled.clients.weighting == "uniform"
