"""Gossip: clients average their models with their neighbours', without server.

Decentralized SGD (Lian et al. 2017, "Can decentralized algorithms outperform
centralized algorithms?") with local steps, which come before the mixing as in
Koloskova et al. 2020, "A unified theory of decentralized SGD with changing
topology and local updates", algorithm 1. Client i keeps a model x_i; all begin
alike. In a round each takes its local steps from its own model, and then

    x_i <- sum_j w_ij y_j

with y_j the models after the steps and W the mixing matrix of `topology`. A
client that dropped out, or whose update is not finite, is silent: neighbours
keep its weight for themselves, and it keeps its model as it was. W stays doubly
stochastic so, and mixing leaves the mean of all models as it was. (A client
whose steps diverged has its old model still; but whoever sends nothing must
take nothing, or the mean would move.)

No server takes part. To be evaluated, saved and exported there is the mean of
all clients' models, which is followed by the sum of their changes

    x <- x - 1/n sum_j (x_j - y_j)

in the place where other algorithms have the server's model. Nothing starts from
it. On the complete graph it is federated averaging with all clients.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_federated as tff

from tff_pipeline import errors, randomness
from tff_pipeline.algorithms import refusals, topology, topology_file
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.algorithms.mixing import mix
from tff_pipeline.client_work.gossiped_model import GossipedModel
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import num_bytes
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL, TOPOLOGIES
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value
from tff_pipeline.runtime import compat

DISTANCE = "consensus_distance"
# All models are mixed at once, in memory; the eigenvalues of W take n^3 steps.
_MOST_BYTES = 4 * 10**9
_MOST_CLIENTS = 5_000


class Gossip(FedAvg):
    """Averaging with neighbours, by a mixing matrix.

    Attributes:
      weights: The mixing matrix W, float64 [clients, clients].
    """

    uncompressed: ClassVar[str] = "there is no server that could decode"
    personal: ClassVar[bool] = True
    takes_everyone: ClassVar[bool] = True

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses what only a server could do.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If clients are private, or the aggregator or the server's
            optimizer are chosen.
        """
        refusals.refuse_private(
            config, "there is no server that could add noise"
        )
        refusals.refuse_aggregators(
            config,
            "there is no server that could aggregate",
            "leave --aggregator out, or choose fed_avg",
        )
        if config.devices.over_selection > 1:
            raise refusals.refusal(
                config,
                {"over_selection": config.devices.over_selection},
                "all clients take part",
                "leave it out",
            )
        refusals.refuse_server_optimizers(config, "there is no server")

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process, and the mixing matrix.

        Args:
          context: The arguments of the algorithm.

        Raises:
          ConfigError: If the topology does not fit the number of clients, or
            there are too many clients for memory.
          DataError: If the file of the topology is not connected, or wrong.
        """
        self._client_ids = list(context.client_ids)
        _check_population(len(self._client_ids))
        self._config = context.config
        self.weights = _mixing_matrix(context.config, self._client_ids)
        super().__init__(context)
        size = num_bytes(self.update.weights_type.trainable)
        _check_memory(len(self._client_ids), size)
        # Each client sends its model to all neighbours, and receives theirs.
        per_client = 2 * self._num_edges / len(self._client_ids)
        self.bytes_down = self.bytes_up = round(per_client * size)

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the client's own model.

        Args:
          context: The arguments of the algorithm.
        """
        assert context.initial_weights is not None  # Assembly gives it.
        weights = context.initial_weights(context.config.run.seed)
        return [GossipedModel(weights.trainable, len(self._client_ids))]

    @property
    def _num_edges(self) -> int:
        """The number of pairs of neighbours."""
        return int(np.count_nonzero(np.triu(self.weights, 1)))

    @property
    def notes(self) -> Sequence[str]:
        """Describes the topology, and what flags of cohorts mean here."""
        n, gap = len(self._client_ids), topology.spectral_gap(self.weights)
        clients = self._config.clients
        return [
            f"gossip: {self._config.algorithm.gossip_topology} of {n} clients, "
            f"{self._num_edges} edges; the mixing matrix is doubly stochastic, "
            f"with spectral gap {gap:.4g}: without training, a round leaves at "
            f"most {1 - gap:.4g} of the clients' distance from their mean.",
            f"gossip: all {n} clients take part in every round and count the "
            f"same; --clients_per_round={clients.clients_per_round} and "
            f"--sampling={clients.sampling} have no say. eval_* and the export "
            f"are of {MODEL_OF_ALL['gossip']}.",
        ]

    @property
    def columns(self) -> Sequence[str]:
        """Names of the additional columns: the consensus distance."""
        return [*super().columns, DISTANCE]

    def after_round(
        self,
        state: Any,
        kept: KeptStates,
        client_ids: Sequence[str],
        round_number: int,
    ) -> tuple[KeptStates, Mapping[str, Value]]:
        """Mixes the models of all clients with those of their neighbours.

        Args:
          state: Not used.
          kept: The clients' models after their steps.
          client_ids: Not used; whoever trained has the round's number.
          round_number: The number of the round, 1 or above.

        Returns:
          (the mixed models, `consensus_distance`: the root of the mean squared
          distance of a client's model from the mean of all).
        """
        del state, client_ids
        states = [
            row[GossipedModel.name] for row in kept.rows(self._client_ids)
        ]
        heard = np.array([each["round"] == round_number for each in states])
        mixed, distance = mix(
            topology.without_silent(self.weights, heard),
            [each["weights"] for each in states],
        )
        rows = [
            {GossipedModel.name: {"round": each["round"], "weights": weights}}
            for each, weights in zip(states, mixed)
        ]
        return kept.updated(self._client_ids, rows), {DISTANCE: distance}

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Returns a client's own model.

        Args:
          state: The server's state, for weights that do not train.
          kept_state: The kept state of that client.
          data: Not used.
        """
        del data
        return tff.learning.models.ModelWeights(
            list(kept_state[GossipedModel.name]["weights"]),
            self.process.get_model_weights(state).non_trainable,
        )


def _mixing_matrix(
    config: ExperimentConfig, client_ids: Sequence[str]
) -> topology.Matrix:
    """Makes the matrix that `--gossip_topology` names, or reads it."""
    options, n = config.algorithm, len(client_ids)
    name = str(options.gossip_topology)
    if name not in TOPOLOGIES:
        return topology_file.read(name, client_ids)
    if name in topology.BY_SIZE:
        return topology.metropolis(topology.BY_SIZE[name](n))
    draw = randomness.generator(config.run.seed, "gossip")
    degree = int(options.gossip_degree or 0)
    return topology.metropolis(topology.random_regular(n, degree, draw))


def _check_population(count: int) -> None:
    """Refuses more clients than there can be eigenvalues of."""
    if count > _MOST_CLIENTS:
        raise errors.ConfigError(
            f"--algorithm=gossip trains all {count:,} clients in every round, "
            f"and at most {_MOST_CLIENTS:,} are allowed; choose fewer by "
            "--num_clients, or another --algorithm."
        )


def _check_memory(count: int, size: int) -> None:
    """Refuses models that do not fit into memory together."""
    if count * size > _MOST_BYTES:
        raise errors.ConfigError(
            f"--algorithm=gossip holds the models of all {count:,} clients at "
            f"once, {count * size / 1e9:.1f} GB, and at most "
            f"{_MOST_BYTES / 1e9:.0f} GB are allowed; choose fewer clients by "
            "--num_clients, or a smaller model."
        )
