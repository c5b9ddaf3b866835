"""IFCA: clients find their model; each model is the mean of its clients."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import RATE, block_of
from tff_pipeline import errors
from tff_pipeline.runtime.in_process import InProcessContext

# From the models 0 and 1 (the draws of seeds 0 and 1 here), two steps a round.
NEAR_0, NEAR_1 = (1.0, -2.0), (1.0, 3.0)
SHRINK = (1 - RATE) ** 2


@pytest.fixture(scope="module")
def made():
    with InProcessContext(2):
        yield quadratics.algorithm("ifca")


def models(row):
    state = row["state"]
    others = state.client_work["ifca"]["models"][0]
    return [row["x"], *np.ravel(others).tolist()]


def shares(row):
    return np.asarray(row["state"].client_work["ifca"]["shares"]).tolist()


def test_each_model_is_the_mean_of_its_clients(made):
    history = quadratics.play(made, [[0, 1]] * 3, {0: NEAR_0, 1: NEAR_1})
    for power, row in enumerate(history, 1):
        expected = [-2 + 2 * SHRINK**power, 3 - 2 * SHRINK**power]
        np.testing.assert_allclose(models(row), expected, rtol=1e-5)
        assert shares(row) == [0.5, 0.5]


def test_two_clients_of_one_model_leave_the_other_as_it_was(made):
    (row,) = quadratics.play(
        made, [[0, 1]], {0: NEAR_1, 1: (1.0, 5.0)}, counts={1: 1}
    )
    np.testing.assert_allclose(
        models(row), [0.0, 4 - 3 * SHRINK], rtol=1e-5, atol=1e-7
    )
    assert shares(row) == [0.0, 1.0]


def test_of_equal_losses_the_first_model_is_taken(made):
    (row,) = quadratics.play(made, [[0]], {0: (1.0, 0.5)})
    np.testing.assert_allclose(models(row), [0.5 - 0.5 * SHRINK, 1], rtol=1e-5)


def test_a_client_that_is_not_finite_moves_no_model(made):
    (row,) = quadratics.play(made, [[0, 1]], {0: (np.nan, 0.0), 1: NEAR_1})
    np.testing.assert_allclose(models(row), [0, 3 - 2 * SHRINK], rtol=1e-5)
    assert shares(row) == [0.0, 1.0]


def test_an_empty_cohort_moves_nothing(made):
    first, second = quadratics.play(made, [[0], []], {0: NEAR_0})
    assert models(first) == models(second)


def test_a_client_is_evaluated_with_the_model_that_fits_it(made):
    (row,) = quadratics.play(made, [[0, 1]], {0: NEAR_0, 1: NEAR_1})
    for client, data in enumerate((NEAR_0, NEAR_1)):
        weights = made.client_weights(
            row["state"],
            None,
            lambda data=data: block_of(2, 0, data, 0, 1),
        )
        assert np.ravel(weights.trainable[0])[0] == models(row)[client]


def test_all_models_travel_down_and_one_up(made):
    # Two models of one float32 and two shares; one delta, a weight and j.
    assert made.bytes_down == 4 * (2 + 2)
    assert made.bytes_up == 4 * 3


def test_equal_models_are_refused(made, monkeypatch):
    monkeypatch.setattr(made, "_draw", lambda _: quadratics.first_weights(0))
    with pytest.raises(errors.ConfigError, match="begins with models that dif"):
        made.initial_state(quadratics.first_weights(0))
