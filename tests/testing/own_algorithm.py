"""An algorithm of the tests' own, whose clients keep their momentum."""

import numpy as np

from tff_pipeline import registry
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import ClientHook

BETA = 0.9


class KeptMomentum(ClientHook):
    """Steps along m <- beta m + g; m stays on the client."""

    name = "momentum"

    def initial_state(self, specs):
        return [np.zeros(spec.shape, np.float32) for spec in specs]

    def gradients(self, gradients_fn, state, step):
        momentum = [BETA * m + g for m, g in zip(state, gradients_fn())]
        return momentum, momentum


class KeptMomentumFedAvg(FedAvg):
    """Federated averaging whose clients keep their momentum."""

    def own_hooks(self, context):
        return [KeptMomentum()]


def register():
    """Makes `--algorithm=kept_momentum` known to this process."""
    registry.ALGORITHMS["kept_momentum"] = f"{__name__}:KeptMomentumFedAvg"
