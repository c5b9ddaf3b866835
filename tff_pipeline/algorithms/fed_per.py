"""FedPer: the last layers stay on clients and train with the others.

Arivazhagan et al. 2019, "Federated learning with personalization layers",
algorithm 1. The weights that travel are the base W_B, those that stay the head
W_Pj of client j: each step moves both by SGD on the client's loss, and the
server averages the bases. The head is in no message: the type of what is sent
and aggregated has no place for it.

The model that is evaluated centrally and exported has the mean of the heads of
the clients that took part.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import local_layers
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.local_layers import LocalLayers, SharedModel
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runtime import compat

Arrays = Sequence[npt.NDArray[Any]]

# Of private examples.
UNPROTECTED = (
    "the layers that are a client's own learn without noise, and the others "
    "from them"
)


class FedPer(FedAvg):
    """Federated averaging of all layers but those that stay on clients."""

    personal: ClassVar[bool] = True
    unpruned: ClassVar[str] = (
        "layers that stay on clients are in no model of the "
        "server's, so that its mask cannot reach them"
    )
    model_in_state: ClassVar[bool] = False

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses private aggregators, and private examples.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the aggregator or examples are private.
        """
        refusals.refuse_private(
            config,
            "the model that is exported would hold layers that clients keep, "
            "without noise",
        )
        refusals.refuse_private_examples(config, UNPROTECTED)

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process of the weights that travel.

        Args:
          context: The arguments of the algorithm.

        Raises:
          ConfigError: If none or all of the weights would stay on clients.
        """
        algorithm = context.config.algorithm
        self._local = local_layers.places(
            context.weight_names, algorithm.local_layers
        )
        assert context.initial_weights is not None  # Assembly gives it.
        weights = context.initial_weights(context.config.run.seed)
        self._initial = [weights.trainable[place] for place in self._local]
        super().__init__(self._shared(context))
        self._config = context.config
        self._names = [context.weight_names[place] for place in self._local]

    def _shared(self, context: AlgorithmContext) -> AlgorithmContext:
        """Returns the context of the model without its local layers."""
        model_fn, local = context.model_fn, self._local
        return dataclasses.replace(
            context, model_fn=lambda: SharedModel(model_fn(), local)
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the layers that a client keeps.

        Args:
          context: The arguments of the algorithm.
        """
        rate = context.config.algorithm.personal_learning_rate
        return [LocalLayers(self._initial, rate)]

    @property
    def notes(self) -> Sequence[str]:
        """Names the layers that stay, how they train, and what is evaluated."""
        name = self._config.algorithm.name
        size = sum(np.size(value) for value in self._initial)
        return [
            f"{name}: {', '.join(self._names)} ({size:,} weights) stay on "
            f"clients; {self._how()} eval_* and the export are of "
            f"{MODEL_OF_ALL.get(name, MODEL_OF_ALL['fed_per'])}."
        ]

    def _how(self) -> str:
        return "they train with the others in every step."

    def initial_state(self, weights: tff.learning.models.ModelWeights) -> Any:
        """Makes the server's state, of the weights that travel.

        Args:
          weights: All of the model's first weights.
        """
        shared = [
            value
            for place, value in enumerate(weights.trainable)
            if place not in self._local
        ]
        return super().initial_state(
            tff.learning.models.ModelWeights(shared, weights.non_trainable)
        )

    def model_weights(
        self, state: Any, kept: Optional[KeptStates] = None
    ) -> tff.learning.models.ModelWeights:
        """Returns the server's weights with the mean of clients' layers.

        Args:
          state: The server's state.
          kept: The kept states of all clients.
        """
        return self._whole(state, self._mean_layers(kept))

    def _mean_layers(self, kept: Optional[KeptStates]) -> Arrays:
        """Takes the mean of the layers of all clients that took part."""
        if kept is None or not kept.client_ids:
            return self._initial
        sums = [np.zeros(value.shape, np.float64) for value in self._initial]
        for client_id in kept.client_ids:
            (row,) = kept.rows([client_id])
            sums = [a + b for a, b in zip(sums, row[LocalLayers.name])]
        count = len(kept.client_ids)
        return [
            (total / count).astype(value.dtype)
            for total, value in zip(sums, self._initial)
        ]

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Returns the server's weights with the client's layers.

        Args:
          state: The server's state.
          kept_state: The kept state of that client.
          data: Not used.
        """
        del data
        return self._whole(state, kept_state[LocalLayers.name])

    def _whole(
        self, state: Any, layers: Arrays
    ) -> tff.learning.models.ModelWeights:
        """Puts local layers in their places among those that travel."""
        sent = self.process.get_model_weights(state)
        whole = list(sent.trainable)
        for place, value in zip(self._local, layers):
            whole.insert(place, value)
        return tff.learning.models.ModelWeights(whole, sent.non_trainable)
