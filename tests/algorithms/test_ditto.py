"""Ditto: a client's own model by its closed form, beside FedAvg's."""

import pytest

from tests.testing import quadratics
from tests.testing.quadratics import RATE, number
from tff_pipeline.runtime.in_process import InProcessContext

CLIENTS, ROUNDS, STEPS = ((1.0, 0.0), (4.0, 1.0)), 4, 2


@pytest.fixture(scope="module", params=[0.0, 0.5])
def played(request):
    with InProcessContext(2):
        made = quadratics.algorithm("ditto", ditto_lambda=request.param)
        fed_avg = quadratics.algorithm("fed_avg")
        cohorts = [[0, 1]] * ROUNDS
        yield (
            request.param,
            made,
            quadratics.play(made, cohorts),
            quadratics.play(fed_avg, cohorts),
        )


def test_what_travels_is_fed_avg_to_the_bit(played):
    _, _, history, fed_avg = played
    for ours, theirs in zip(history, fed_avg):
        assert ours["x"] == theirs["x"]
        # Losses of own models are in no metric of training.
        assert ours["measured"] == theirs["measured"]


def test_own_models_have_their_closed_form(played):
    # w is what the client received, which is the server's before the round.
    weight, made, history, fed_avg = played
    server = [row["x"] for row in fed_avg]
    for client, (a, b) in enumerate(CLIENTS):
        v = 0.0
        for row, w in zip(history, [0.0, *server]):
            end = (a * b + weight * w) / (a + weight)
            v = end + (v - end) * (1 - RATE * (a + weight)) ** STEPS
            assert number(row["kept"][client]["ditto"]) == pytest.approx(
                v, rel=1e-5, abs=1e-7
            )
        weights = made.client_weights(
            history[-1]["state"], history[-1]["kept"][client], None
        )
        assert number(list(weights.trainable)) == pytest.approx(v, rel=1e-5)


def test_a_client_that_is_not_finite_keeps_its_model(played):
    _, made, _, _ = played
    first, second = quadratics.play(
        made, [[0, 1]] * 2, data={1: (float("nan"), 1.0)}
    )
    assert number(first["kept"][1]["ditto"]) == 0.0
    assert number(second["kept"][1]["ditto"]) == 0.0
    assert first["x"] == second["x"] == 0.0  # b of the other is 0.
