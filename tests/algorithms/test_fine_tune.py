"""fine_tune: the server's model after local steps, by its closed form."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import RATE, block_of
from tff_pipeline.runtime.in_process import InProcessContext

# Of examples, which a client's own model need not be kept from.
PRIVATE = {"dp_target_epsilon": 1.0, "dp_delta": 1e-5, "dp_clip": 0.1}


def own_block(private):
    """The block of the second client, in no round."""
    (block,) = block_of(0, 1, None, 0, 1)
    if private:
        block["noise_multiplier"] = np.float32(1.0)
    return [block]


@pytest.mark.parametrize(
    ("own_rate", "private"), [(None, {}), (0.05, {}), (None, PRIVATE)]
)
def test_a_client_trains_what_it_received(own_rate, private):
    with InProcessContext(2):
        made = quadratics.algorithm(
            "fine_tune",
            private,
            local_epochs=3,
            personal_learning_rate=own_rate,
        )
        (row,) = quadratics.play(made, [[0, 1]])
        # Three epochs of one example each, whatever a round's steps.
        weights = made.client_weights(
            row["state"], None, lambda: own_block(private)
        )
    a, b = 4.0, 1.0
    shrunk = (1 - (own_rate or RATE) * a) ** 3
    np.testing.assert_allclose(
        np.ravel(weights.trainable[0]),
        b + (row["x"] - b) * shrunk,
        rtol=1e-5,
    )
