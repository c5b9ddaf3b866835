"""IFCA: each client finds which of k models fits it, and trains that one.

Ghosh et al. 2020, "An efficient framework for clustered federated learning",
algorithm 1, model averaging. All k models theta_1 ... theta_k travel to each
client of a cohort; client i finds j = argmin_j F_i(theta_j) on all its training
examples, the lowest j of equals, and takes its steps from theta_j. The server
sets each theta_j to the mean of what its clients made of it; a model that no
client chose stays.

The models begin with the draws of k seeds, --seed and those after it, for equal
models would stay equal. The model that is evaluated centrally and exported is
the one that had the largest share of the last cohort.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import chosen_model, empty_model
from tff_pipeline.client_work.chosen_model import ChosenModel
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.steps import assign
from tff_pipeline.client_work.update import num_bytes
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value
from tff_pipeline.runtime import compat


class Ifca(FedAvg):
    """Federated averaging of k models, one for each cluster of clients."""

    uncompressed: ClassVar[str] = "a client sends one of several updates"
    personal: ClassVar[bool] = True
    model_in_state: ClassVar[bool] = False

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses another server optimizer than the mean's, and privacy.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the server's optimizer is not SGD at rate 1, or the
            aggregator is not the mean.
        """
        refusals.refuse_server_optimizers(
            config, "each model is set to the mean of its clients"
        )
        refusals.refuse_private(
            config, "which model a client chose would be told"
        )
        refusals.refuse_private_examples(
            config, "which model a client chose would be told without noise"
        )
        refusals.refuse_aggregators(
            config,
            "the models' sums are divided by how many chose them, which is for "
            "a mean",
        )

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process, and the choice for evaluation.

        Args:
          context: The arguments of the algorithm.
        """
        config = context.config
        self._k = int(config.algorithm.num_clusters or 2)
        super().__init__(context)
        assert context.initial_weights is not None  # Assembly gives it.
        self._draw, self._seed = context.initial_weights, config.run.seed
        # A client sends one delta and j; zeros stand for the others here.
        self.bytes_up = (
            num_bytes(self.update.weights_type.trainable)
            + num_bytes(self.update.result_type.update_weight)
            + np.dtype(np.int32).itemsize
        )
        self._choose = _build_choice(
            context.model_fn, self.update, config.clients.batch_size
        )

    @property
    def notes(self) -> Sequence[str]:
        """Says what travels."""
        return [
            f"ifca: all {self._k} models travel to a client, which trains the "
            "one with the least loss on its examples; eval_* and the export "
            f"are of {MODEL_OF_ALL['ifca']}."
        ]

    @property
    def columns(self) -> Sequence[str]:
        """Names of the additional columns: the share of each model."""
        shares = [f"cluster_{j + 1}_share" for j in range(self._k)]
        return [*super().columns, *shares]

    def measure(self, metrics: Any) -> dict[str, Value]:
        """Converts the metrics of one round to columns of metrics.csv.

        Args:
          metrics: The metrics that `run_round` returned.
        """
        values = super().measure(metrics)
        for j, share in enumerate(metrics["shares"], 1):
            values[f"cluster_{j}_share"] = float(share)
        return values

    def run_round(
        self, state: Any, data: Sequence[Any], kept: Sequence[Any]
    ) -> tuple[Any, Any, Sequence[Any]]:
        """Runs one round.

        Args:
          state: The server's state.
          data: The data of the cohort's clients.
          kept: The kept states of these clients.

        Returns:
          See `Algorithm.run_round`; the metrics have the models' shares too.
        """
        after, metrics, kept = super().run_round(state, data, kept)
        shares = after.client_work[ChosenModel.name]["shares"]
        return after, {**metrics, "shares": shares}, kept

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the choice of a model.

        Args:
          context: The arguments of the algorithm.
        """
        return [ChosenModel(self._k, context.config.clients.batch_size)]

    def initial_state(self, weights: tff.learning.models.ModelWeights) -> Any:
        """Makes the server's state, with k models.

        Args:
          weights: The first model.

        Raises:
          ConfigError: If two models are equal.
        """
        models = [
            weights.trainable,
            *(self._draw(self._seed + j).trainable for j in range(1, self._k)),
        ]
        if any(
            all(np.array_equal(a, b) for a, b in zip(models[0], other))
            for other in models[1:]
        ):
            raise errors.ConfigError(
                "--algorithm=ifca begins with models that differ, and all "
                f"{self._k} of these are equal, as with --init_from; leave "
                "that out."
            )
        state = super().initial_state(weights)
        value = state.client_work[ChosenModel.name]
        stacks = [np.stack(each) for each in zip(*models[1:])]
        return state._replace(
            client_work={
                **state.client_work,
                ChosenModel.name: {**value, "models": stacks},
            }
        )

    def model_weights(
        self, state: Any, kept: Optional[KeptStates] = None
    ) -> tff.learning.models.ModelWeights:
        """Returns the model with the largest share of the last cohort.

        Args:
          state: The server's state.
          kept: Not used.
        """
        del kept
        value = state.client_work[ChosenModel.name]
        return self.cluster_weights(state, int(np.argmax(value["shares"])))

    def cluster_weights(
        self, state: Any, cluster: int
    ) -> tff.learning.models.ModelWeights:
        """Returns the weights of one of the k models.

        Args:
          state: The server's state.
          cluster: The number of the model, from 0.
        """
        first = self.process.get_model_weights(state)
        if not cluster:
            return first
        stacks: Sequence[npt.NDArray[Any]] = state.client_work[
            ChosenModel.name
        ]["models"]
        return tff.learning.models.ModelWeights(
            [stack[cluster - 1] for stack in stacks], first.non_trainable
        )

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Returns the model with the least loss on a client's examples.

        Args:
          state: The server's state.
          kept_state: Not used.
          data: Reads the data that the client trains on.
        """
        return self.cluster_weights(state, self.cluster_of(state, data()))

    def cluster_of(self, state: Any, data: Any) -> int:
        """Finds the model with the least loss on a client's examples.

        Args:
          state: The server's state.
          data: The data that the client trains on.

        Returns:
          The model's number, from 0.
        """
        losses = [
            self._choose(self.cluster_weights(state, j), data)
            for j in range(self._k)
        ]
        return int(np.argmin(losses))


def _build_choice(
    model_fn: empty_model.ModelFn, update: Any, at_once: int
) -> Callable[[Any, Any], Any]:
    """Builds the computation of a model's mean loss on a client's data."""

    @tff.tensorflow.computation(update.weights_type, update.data_type)
    def loss(weights: Any, data: Any) -> Any:
        model = empty_model.without_initial_values(model_fn)

        @tf.function(autograph=False)
        def compute(weights: Any, block: Any) -> tf.Tensor:
            assign(model.non_trainable_variables, weights.non_trainable)
            return chosen_model.mean_loss(
                model, list(weights.trainable), block, at_once
            )

        return compute(weights, data.get_single_element())

    return loss
