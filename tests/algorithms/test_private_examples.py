"""Algorithms change the gradients of DP-SGD, which does not replace theirs."""

import numpy as np
import pytest

from tests.testing import quadratics
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.runtime.in_process import InProcessContext

COHORTS = [[0, 1], [1], [0, 1]]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scaffold", {}),
        pytest.param("fed_prox", {"fed_prox_mu": 2.0}, marks=pytest.mark.soak),
        pytest.param("fed_dyn", {"fed_dyn_alpha": 0.5}, marks=pytest.mark.soak),
        pytest.param("ditto", {"ditto_lambda": 0.5}, marks=pytest.mark.soak),
    ],
)
def test_without_clip_and_noise_dp_sgd_changes_nothing(name, options):
    """With all examples in each batch, and a clip that no gradient reaches."""
    protection = ExampleDp(lambda y, out: out[0, 0], 1e6, 1, np.int64([1, 2]))
    with InProcessContext(2):
        plain = quadratics.play(quadratics.algorithm(name, **options), COHORTS)
        private = quadratics.play(
            quadratics.algorithm(name, first_hooks=[protection], **options),
            COHORTS,
            noise_multiplier=0.0,
        )
    for one, other in zip(plain, private):
        assert other["x"] == pytest.approx(one["x"], rel=1e-5)
        for ours, theirs in zip(one["kept"], other["kept"]):
            np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-5)


def values(kept):
    """The numbers that a client keeps, in order."""
    if kept is None:
        return []
    return [quadratics.number(kept[name]) for name in sorted(kept)]
