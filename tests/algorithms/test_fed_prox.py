"""FedProx: closed forms; its term pulls back, as TFF's own does not."""

import pytest

from tests.testing import quadratics
from tff_pipeline.runtime.in_process import InProcessContext

# The loss (w - 1)^2.
LOSS = {0: (2.0, 1.0)}


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext(2):
        yield


def after(mu):
    clients = {
        "steps_per_round": 20,
        "optimizer": quadratics.OptimizerConfig("client", "sgd", 0.05),
    }
    made = quadratics.algorithm("fed_prox", clients, fed_prox_mu=mu)
    (row,) = quadratics.play(made, [[0]], data=LOSS)
    return row["x"]


@pytest.mark.parametrize(
    ("mu", "expected"), [(0.0, 0.8784), (0.5, 0.7446), (1.5, 0.5592)]
)
def test_closed_form(mu, expected):
    rate = 0.05 * (2 + mu)
    exact = 2 / (2 + mu) * (1 - (1 - rate) ** 20)
    assert exact == pytest.approx(expected, abs=1e-4)
    assert after(mu) == pytest.approx(exact, rel=1e-5)


def test_mu_of_0_is_fed_avg_to_the_bit():
    rounds = [[0, 1], [1], [0, 1]]
    prox, avg = (
        [row["x"] for row in quadratics.play(made, rounds)]
        for made in (
            quadratics.algorithm("fed_prox", fed_prox_mu=0.0),
            quadratics.algorithm("fed_avg"),
        )
    )
    assert prox == avg
