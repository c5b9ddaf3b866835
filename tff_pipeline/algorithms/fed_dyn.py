"""FedDyn: each client's loss is bent until its optimum is that of all.

Acar et al. 2021, "Federated Learning Based on Dynamic Regularization",
algorithm 1. A client k of m minimizes, from the server's theta^t,

    L_k(theta) - <g_k, theta> + alpha / 2 ||theta - theta^t||^2

and sets g_k <- g_k - alpha (theta_k - theta^t). The server sets

    h <- h - (alpha / m) sum_S (theta_k - theta^t)
    theta^{t+1} = mean_S theta_k - h / alpha

All clients count the same, h is the mean of all m clients' g_k, and both are in
units of gradients. The server's optimizer takes theta^t - theta^{t+1}; SGD of
rate 1 is the algorithm of the paper.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    GradientsFn,
    Message,
    Received,
    Step,
    zeros,
)
from tff_pipeline.config import ExperimentConfig


class DynamicRegularizer(ClientHook):
    """Keeps g_k on a client and h at the server, and bends losses by g_k."""

    name = "fed_dyn"
    needs_cohort_weight = True

    def __init__(self, alpha: float, population: int):
        """Makes the hook.

        Args:
          alpha: The weight of the quadratic term, above 0.
          population: The number m of all clients.
        """
        self._alpha = alpha
        self._population = float(population)

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes g_k of a client that never came: 0, like h.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes h before the first round: 0.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Returns -g_k - alpha theta^t.

        Args:
          start: theta^t.
          state: g_k.
          client: Not used.
        """
        return [-own - self._alpha * each for own, each in zip(state, start)]

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes the gradient of the bent loss.

        Args:
          gradients_fn: Takes the gradient of the loss.
          state: g_k.
          step: The model, with theta, and -g_k - alpha theta^t.

        Returns:
          (the gradient - g_k + alpha (theta - theta^t), g_k).
        """
        bent = [
            # One pass over the three.
            tf.add_n([gradient, self._alpha * weight, constant])
            for gradient, weight, constant in zip(
                gradients_fn(), step.model.trainable_variables, step.constants
            )
        ]
        return bent, state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sets g_k anew.

        Args:
          message: The message, whose update is theta^t - theta_k.
          state: g_k.
          client: Not used.

        Returns:
          (the message as it was, the new g_k).
        """
        after = [
            own + self._alpha * delta
            for own, delta in zip(state, tf.nest.flatten(message.update))
        ]
        return message, after

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Sets h anew, and moves the model by h / alpha too.

        Args:
          value: h.
          mean: What came of the clients' messages.

        Returns:
          (theta^t - theta^{t+1}, the new h).
        """
        deltas = tf.nest.flatten(mean.update)
        share = self._alpha * mean.weight / self._population
        after = [h + share * delta for h, delta in zip(value, deltas)]
        moved = [delta + h / self._alpha for delta, h in zip(deltas, after)]
        return tf.nest.pack_sequence_as(mean.update, moved), after


class FedDyn(FedAvg):
    """Federated averaging of clients with bent losses."""

    uncompressed: ClassVar[str] = (
        "what the server and its clients remember must add up, which "
        "takes exact updates"
    )

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses private aggregators.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If clients are private.
        """
        refusals.refuse_private(
            config,
            "the number of clients that came, which h needs, has no noise",
        )
        refusals.refuse_robust(
            config,
            "h is the sum of all clients' changes, and what a rule leaves out "
            "of it would be missing for ever",
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the regularizer.

        Args:
          context: The arguments of the algorithm.
        """
        alpha = float(context.config.algorithm.fed_dyn_alpha or 0.0)
        return [DynamicRegularizer(alpha, context.population)]
