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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.algorithms.algorithm import AlgorithmContext, refuse_private
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import steps
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
    Received,
)
from tff_pipeline.client_work.uncounted import uncounted
from tff_pipeline.client_work.update import num_bytes
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value
from tff_pipeline.runtime import compat


class ChosenModel(ClientHook):
    """Starts a client from the model with the least loss on its examples.

    The first model is the server's, the others are this hook's value there.
    """

    name = "ifca"
    keeps = False

    def __init__(self, num_clusters: int, at_once: int):
        """Makes the hook.

        Args:
          num_clusters: k, the number of models.
          at_once: The number of examples that are computed at a time.
        """
        self._k = num_clusters
        self._at_once = at_once

    def describe(self) -> str:
        """Describes what is sent beside the model delta."""
        return "with the number of its model"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns j before the choice.

        Args:
          specs: Of the trainable weights.
        """
        del specs
        return np.int32(0)

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes room for the models but the first, and for their shares.

        Args:
          specs: Of the trainable weights.
        """
        return {
            "models": [
                np.zeros([self._k - 1, *spec.shape], spec.dtype.as_numpy_dtype)
                for spec in specs
            ],
            "shares": np.zeros([self._k], np.float32),
        }

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Chooses the client's model.

        Args:
          weights: The first model.
          state: Not used.
          client: The client, with the other models.

        Returns:
          (the weights of model j, j, an int32 scalar).
        """
        stacks = [
            tf.concat([first[tf.newaxis], others], axis=0)
            for first, others in zip(weights, client.server_value["models"])
        ]
        losses = [
            mean_loss(
                client.model,
                [s[j] for s in stacks],
                client.block,
                self._at_once,
            )
            for j in range(self._k)
        ]
        chosen = best_of(losses)
        return [stack[chosen] for stack in stacks], chosen

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sends the delta of the client's model, in its place among k.

        Args:
          message: The message as the hooks before this one left it.
          state: j.
          client: Not used.

        Returns:
          (the message with the deltas of all models, of which all but one are
          zeros, and with who chose what; j).
        """
        came = tf.one_hot(state, self._k)
        delta = tf.nest.flatten(message.update)
        others = [
            tf.reshape(came[1:], [-1] + [1] * len(each.shape)) * each
            for each in delta
        ]
        first = tf.nest.pack_sequence_as(
            message.update, [came[0] * each for each in delta]
        )
        extra = {"deltas": others, "shares": came}
        extras = {**message.extras, self.name: extra}
        return message._replace(update=first, extras=extras), state

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Moves each model by the mean of the clients that chose it.

        Args:
          value: The models but the first.
          mean: What came of the clients' messages: the sums of deltas, and of
            weights, over the weight of all clients.

        Returns:
          (the delta of the first model, the models but the first).
        """
        shares = mean.extra["shares"]
        first = tf.nest.map_structure(
            lambda each: tf.math.divide_no_nan(each, shares[0]), mean.update
        )
        models = [
            model
            - tf.math.divide_no_nan(
                delta,
                tf.reshape(shares[1:], [-1] + [1] * (len(delta.shape) - 1)),
            )
            for model, delta in zip(value["models"], mean.extra["deltas"])
        ]
        return first, {"models": models, "shares": shares}


def mean_loss(
    model: tff.learning.models.VariableModel,
    weights: Sequence[tf.Tensor],
    block: Mapping[str, tf.Tensor],
    at_once: int,
) -> tf.Tensor:
    """Computes the mean loss of all examples of a client.

    Args:
      model: The model, whose trainable weights it changes.
      weights: The trainable weights at which the loss is computed.
      block: The client's data, as `client_block` makes them.
      at_once: The number of examples that are computed at a time.

    Returns:
      A float32 scalar; infinity in place of what is no number.
    """
    steps.assign(model.trainable_variables, weights)
    examples = tf.shape(block["x"])[0]

    def add(start: tf.Tensor, total: tf.Tensor) -> Any:
        here = slice(start, start + at_once)
        x, y = block["x"][here], block["y"][here]
        loss = model.forward_pass((x, y), training=False).loss
        return start + at_once, total + loss * tf.cast(
            tf.shape(x)[0], tf.float32
        )

    with uncounted(model):
        _, total = tf.while_loop(
            lambda start, _: start < examples,
            add,
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )
    total /= tf.cast(examples, tf.float32)
    return tf.where(tf.math.is_nan(total), np.inf, total)


def best_of(losses: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the place of the least loss, the first of equals, an int32.

    Args:
      losses: Scalars.
    """
    return tf.argmin(tf.stack(losses), output_type=tf.int32)


class Ifca(FedAvg):
    """Federated averaging of k models, one for each cluster of clients."""

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
        server = config.server.optimizer
        if server.name != "sgd" or server.learning_rate != 1.0:
            raise errors.ConfigError(
                f"--algorithm=ifca with --server_optimizer={server.name} and "
                f"--server_learning_rate={server.learning_rate}: each model is "
                "set to the mean of its clients; leave them out."
            )
        refuse_private(config, "which model a client chose would be told")
        if config.aggregation.name != "mean":
            raise errors.ConfigError(
                f"--algorithm=ifca with --aggregator={config.aggregation.name}:"
                " the models' sums are divided by how many chose them, which "
                "is for a mean; leave --aggregator out."
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
            "are of the model with the largest share of the last cohort."
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
    model_fn: steps.ModelFn, update: Any, at_once: int
) -> Callable[[Any, Any], Any]:
    """Builds the computation of a model's mean loss on a client's data."""

    @tff.tensorflow.computation(update.weights_type, update.data_type)
    def loss(weights: Any, data: Any) -> Any:
        model = steps.without_initial_values(model_fn)

        @tf.function(autograph=False)
        def compute(weights: Any, block: Any) -> tf.Tensor:
            steps.assign(model.non_trainable_variables, weights.non_trainable)
            return mean_loss(model, list(weights.trainable), block, at_once)

        return compute(weights, data.get_single_element())

    return loss
