"""Momentum that stays on its client from round to round."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import number
from tff_pipeline import errors
from tff_pipeline.attacks.attack import Marked
from tff_pipeline.client_work.kept_momentum import KeptMomentum
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    AttackConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
)
from tff_pipeline.runtime.in_process import InProcessContext


def test_it_goes_on_where_the_clients_last_round_left_it():
    made = quadratics.algorithm(
        "fed_avg", clients={"steps_per_round": 1}, hooks=[KeptMomentum(0.9)]
    )
    with InProcessContext(2):
        history = quadratics.play(made, [[1], [0], [1], [1]])
    # Client 1: g = 4 (x - 1); client 0: g = x. Its momentum waits for it.
    x, momenta, expected = 0.0, [0.0, 0.0], []
    for client in (1, 0, 1, 1):
        gradient = 4 * (x - 1) if client else x
        momenta[client] = 0.9 * momenta[client] + gradient
        x -= 0.1 * momenta[client]
        expected.append([x, *momenta])
    found = [
        [row["x"], *(number(kept["kept_momentum"]) for kept in row["kept"])]
        for row in history
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert [round(row[0], 3) for row in expected] == [0.4, 0.36, 0.976, 1.54]


def test_attackers_that_keep_none_step_along_the_gradient():
    hooks = [KeptMomentum(0.9, attackers=False), Marked()]
    made = quadratics.algorithm(
        "fed_avg", clients={"steps_per_round": 1}, hooks=hooks
    )
    with InProcessContext(2):
        hostile = quadratics.play(made, [[1]] * 3, mark=1)
        honest = quadratics.play(made, [[1]] * 3, mark=0)
    # g = 4 (x - 1), so that x <- .6 x + .4 without a momentum.
    np.testing.assert_allclose(
        [row["x"] for row in hostile], [0.4, 0.64, 0.784], rtol=1e-6
    )
    # 4 (.4 - 1) - .9 x 4 = -6, then 4 (1 - 1) - .9 x 6.
    np.testing.assert_allclose(
        [row["x"] for row in honest], [0.4, 1.0, 1.54], rtol=1e-6
    )


@pytest.mark.parametrize(
    "groups, says",
    [
        ({"algorithm": AlgorithmConfig("scaffold")}, "--algorithm=scaffold"),
        (
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
            },
            "--aggregator=dp_gaussian",
        ),
    ],
)
def test_what_it_is_not_for_refuses_it(groups, says):
    with pytest.raises(errors.ConfigError, match=says):
        ExperimentConfig(clients=ClientConfig(kept_momentum=0.9), **groups)


def test_attackers_are_asked_about_it_only_where_clients_keep_one():
    attack = AttackConfig("label_flip", attack_kept_momentum=False)
    with pytest.raises(
        errors.ConfigError,
        match="--attack_kept_momentum=false is only used with "
        "--client_kept_momentum",
    ):
        ExperimentConfig(attack=attack)


def test_another_optimizer_has_a_memory_of_its_own():
    with pytest.raises(errors.ConfigError, match="--client_optimizer=adam"):
        ClientConfig(
            kept_momentum=0.9, optimizer=OptimizerConfig("client", "adam")
        )
