"""Federated averaging whose model each client trains on before it uses it.

Wang et al. 2019, "Federated evaluation of on-device personalization": training
is that of `fed_avg`; each client's own model is the server's after
`--local_epochs` on the client's training examples, with its optimizer. Nothing
of it leaves the client.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import tensorflow_federated as tff

from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.local_update import LocalUpdate
from tff_pipeline.runtime import compat


class FineTune(FedAvg):
    """Federated averaging, evaluated after local epochs of each client."""

    personal: ClassVar[bool] = True
    unpruned: ClassVar[str] = (
        "clients' own models train on without the mask, and "
        "would hold what is pruned"
    )

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process, and the local training.

        Args:
          context: The arguments of the algorithm.
        """
        super().__init__(context)
        clients, algorithm = context.config.clients, context.config.algorithm
        optimizer = clients.optimizer
        if algorithm.personal_learning_rate is not None:
            optimizer = dataclasses.replace(
                optimizer, learning_rate=algorithm.personal_learning_rate
            )
        self._epochs = algorithm.local_epochs or 1
        self._local = LocalUpdate(
            context.model_fn,
            dataclasses.replace(
                clients,
                epochs_per_round=self._epochs,
                steps_per_round=None,
                optimizer=optimizer,
                # What stays on the client needs no noise.
                dp_target_epsilon=None,
                dp_delta=None,
                dp_clip=None,
                dp_noise_seed=None,
            ),
        )

    @property
    def notes(self) -> Sequence[str]:
        """Says how clients' own models are made."""
        return [
            "fine_tune: trains as fed_avg does; for --eval_clients=seen each "
            f"client trains the model further (--local_epochs={self._epochs})."
        ]

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Trains the server's weights on the client's data.

        Args:
          state: The server's state.
          kept_state: Not used.
          data: Reads the data that the client trains on.
        """
        del kept_state
        weights = self.process.get_model_weights(state)
        return self._local.trained(weights, data())
