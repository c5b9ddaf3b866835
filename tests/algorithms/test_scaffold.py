"""SCAFFOLD: published values, c as the mean of all c_i, others' errors."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import number
from tff_pipeline import errors
from tff_pipeline.algorithms.scaffold import Scaffold
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext

OPTION_1 = [
    [0.32, -2, 0, -4],
    [0.5372, -1.2, 0.32, -2.72],
    [0.657062, -0.657, 0.5372, -1.8512],
]
OPTION_2 = [
    [0.32, -1.6, 0, -3.2],
    [0.5312, -1.056, 0.384, -2.496],
    [0.652352, -0.60576, 0.57664, -1.78816],
]
NAN = {1: (np.nan, 1.0)}


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext(2):
        yield


@pytest.fixture(scope="module")
def second():
    return quadratics.algorithm("scaffold")


@pytest.fixture(scope="module")
def first():
    return quadratics.algorithm("scaffold", scaffold_option=1)


def own(kept):
    """c_i of a kept state, of either option."""
    state = kept["scaffold"]
    return number(state["own"] if isinstance(state, dict) else state)


def values(history):
    return [
        [
            row["x"],
            number(row["server"]["scaffold"]),
            *map(own, row["kept"]),
        ]
        for row in history
    ]


def test_published_values(first, second):
    for made, expected in ((first, OPTION_1), (second, OPTION_2)):
        history = values(quadratics.play(made, [[0, 1]] * 3))
        np.testing.assert_allclose(history, expected, rtol=1e-5, atol=1e-6)


def test_one_client_at_a_time(second):
    history = values(quadratics.play(second, [[0], [1], [0]]))
    expected = [
        [0, 0, 0, 0],
        [0.64, -1.6, 0, -3.2],
        [0.8224, -1.256, 0.688, -3.2],
    ]
    np.testing.assert_allclose(history, expected, rtol=1e-5, atol=1e-6)


def test_for_one_step_both_options_are_one(first, second):
    one = {0: 1, 1: 1}
    a, b = (
        values(quadratics.play(made, [[0, 1]] * 3, steps=one))
        for made in (first, second)
    )
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_c_is_the_mean_of_all_after_every_round(second):
    # Who comes is drawn, sometimes nobody; and one client is not finite.
    draw = np.random.default_rng(0)
    cohorts = [list(np.flatnonzero(draw.random(2) < 0.6)) for _ in range(12)]
    assert [] in cohorts and [0, 1] in cohorts
    for data in (None, NAN):
        history = values(quadratics.play(second, cohorts, data=data))
        for _, c, *each in history:
            assert c == pytest.approx(np.mean(each), abs=1e-6)
    assert [row[3] for row in history] == [0] * 12  # It keeps what it had.


def test_weighted_it_finds_the_weighted_optimum():
    made = quadratics.algorithm(
        "scaffold",
        {"weighting": "num_examples", "batch_size": 10},
        examples=4,
    )
    history = quadratics.play(
        made, [[0, 1], [1], [0]] * 40, counts={0: 3, 1: 1}
    )
    for row in values(history):
        _, c, *each = row
        assert c == pytest.approx(0.75 * each[0] + 0.25 * each[1], abs=1e-5)
    # Of .75 x^2 / 2 + .25 4 (x - 1)^2 / 2.
    assert history[-1]["x"] == pytest.approx(1 / 1.75, abs=1e-3)


def test_momentum_is_divided_by_what_it_moves():
    made = quadratics.algorithm("scaffold", {"steps_per_round": 10}, "momentum")
    history = quadratics.play(made, [[0, 1]] * 60)
    # Divided by K lr it diverges at a tenth of this rate.
    assert history[-1]["x"] == pytest.approx(0.8, abs=1e-2)


def test_what_it_cannot_be_combined_with_is_a_sentence():
    adam = ExperimentConfig(
        algorithm=AlgorithmConfig("scaffold"),
        clients=ClientConfig(optimizer=OptimizerConfig("client", "adam", 0.1)),
    )
    with pytest.raises(errors.ConfigError, match="--client_optimizer=adam"):
        Scaffold.check(adam)
    private = ExperimentConfig(
        algorithm=AlgorithmConfig("scaffold"),
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
    )
    with pytest.raises(errors.ConfigError, match="--aggregator=dp_gaussian"):
        Scaffold.check(private)
