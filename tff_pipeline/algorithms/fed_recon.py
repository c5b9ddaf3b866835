"""FedRecon: clients make their last layers anew in every round.

Singhal et al. 2021, "Federated reconstruction: partially local federated
learning", algorithm 1. A client keeps nothing: in a round it begins its local
layers l_i as all do, fits them by `--local_epochs` of SGD with the global g at
rest, then takes its usual steps of g with l_i at rest. So does whoever uses the
model, a client that never trained too. Both use all of the client's examples,
the paper's variant without a split into support and query.

The model that is evaluated centrally and exported has the layers with which all
begin.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_per import UNPROTECTED, FedPer
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.local_layers import LocalLayers
from tff_pipeline.client_work.local_update import LocalUpdate
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runtime import compat


class FedRecon(FedPer):
    """Federated averaging around layers that clients reconstruct."""

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses private examples alone: what clients fit goes nowhere.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If examples are private.
        """
        refusals.refuse_private_examples(config, UNPROTECTED)

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process, and the reconstruction for evaluation.

        Args:
          context: The arguments of the algorithm.

        Raises:
          ConfigError: If none or all of the weights would stay on clients.
        """
        super().__init__(context)
        clients = context.config.clients
        self._reconstruct = LocalUpdate(
            self._shared(context).model_fn,
            # The steps of the others do not change the layers that were fit.
            dataclasses.replace(clients, epochs_per_round=1, steps_per_round=1),
            [self._layers(context, sends=True)],
        )

    def _how(self) -> str:
        epochs = self._config.algorithm.local_epochs
        return (
            "in every round a client makes them anew "
            f"(--local_epochs={epochs}), and then trains the others, by "
            "--client_epochs_per_round or --client_steps_per_round."
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the layers that a client reconstructs.

        Args:
          context: The arguments of the algorithm.
        """
        return [self._layers(context)]

    def _layers(
        self, context: AlgorithmContext, sends: bool = False
    ) -> LocalLayers:
        algorithm = context.config.algorithm
        return LocalLayers(
            self._initial,
            algorithm.personal_learning_rate,
            algorithm.local_epochs or 0,
            keeps=False,
            sends=sends,
        )

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Reconstructs a client's layers from the data that it trains on.

        Args:
          state: The server's state.
          kept_state: Not used.
          data: Reads the data that the client trains on.
        """
        del kept_state
        sent = self.process.get_model_weights(state)
        extras = self._reconstruct.extras(sent, data())
        return self._whole(state, extras[LocalLayers.name])
