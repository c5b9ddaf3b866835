"""SCAFFOLD: control variates take out of each step what is the client's alone.

Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for
Federated Learning", algorithm 1. A client steps along g - c_i + c, and sets

    option I    c_i <- the gradient of all its examples at x
    option II   c_i <- c_i - c + (x - y) / (K lr)

with x the weights that it received, y those after its K steps of rate lr. The
server adds (|S| / N) mean(c_i's change) to c, so that in every round c is the
mean of all N clients' c_i, those of clients that never came, 0, too.

Where clients count by their examples, c is the mean by examples of the whole
population: its change is the cohort's weighted mean times the cohort's share of
all examples. A cohort's own shares would lead to another optimum than x's.

Steps with momentum move by more than the sum of their gradients, so K is then
||a||_1 of `fed_nova.accumulated`. A client that drops out or whose update is
not finite keeps its c_i and adds nothing to c.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.algorithms import fed_nova, refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import full_gradient
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
from tff_pipeline.config import ClientConfig, ExperimentConfig


class ControlVariates(ClientHook):
    """Keeps c_i on a client and c at the server, and corrects steps by both."""

    name = "scaffold"
    needs_cohort_weight = True

    def __init__(self, population_weight: float, momentum: float = 0.0):
        """Makes the hook of option II.

        Args:
          population_weight: The sum of the weights of all clients.
          momentum: The momentum of the clients' optimizer.
        """
        self._population_weight = population_weight
        self._momentum = momentum

    def describe(self) -> str:
        """Describes what is sent beside the model delta."""
        return "with the change of its control variate"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes c_i of a client that never came: 0, like c.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes c before the first round: 0.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Computes c - c_i.

        Args:
          start: Not used.
          state: c_i.
          client: The client, with c.

        Returns:
          {"correction": c - c_i}.
        """
        return {
            "correction": list(map(tf.subtract, client.server_value, state))
        }

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Corrects the gradient of a step.

        Args:
          gradients_fn: Takes the gradient of the loss.
          state: c_i.
          step: The step, with c - c_i.

        Returns:
          (g - c_i + c, c_i).
        """
        correction = step.constants["correction"]
        return list(map(tf.add, gradients_fn(), correction)), state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sets c_i anew by option II.

        Args:
          message: The message as the hooks before this one left it.
          state: c_i.
          client: The client after its last step.

        Returns:
          (the message with the change of c_i as an extra, the new c_i).
        """
        steps = tf.cast(client.num_steps, tf.float32)
        moved = fed_nova.accumulated(steps, self._momentum)
        moved *= client.learning_rate
        changes = [
            tf.math.divide_no_nan(delta, moved) - c
            for delta, c in zip(
                tf.nest.flatten(message.update), client.server_value
            )
        ]
        return self._sent(message, changes), list(map(tf.add, state, changes))

    def _sent(self, message: Message, changes: Sequence[tf.Tensor]) -> Message:
        return message._replace(
            extras={**message.extras, self.name: list(changes)}
        )

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Adds the cohort's changes to c.

        Args:
          value: c.
          mean: What came of the clients' messages.

        Returns:
          (the model delta as it was, the new c).
        """
        share = mean.weight / self._population_weight
        return mean.update, [
            c + share * change for c, change in zip(value, mean.extra)
        ]


class FullGradients(ControlVariates):
    """Control variates of option I, gradients of all examples of a client.

    They cost a pass over its examples before its first step.
    """

    def __init__(self, population_weight: float, options: ClientConfig):
        """Makes the hook.

        Args:
          population_weight: The sum of the weights of all clients.
          options: The options of clients, of which the sizes of batches count.
        """
        super().__init__(population_weight)
        self._options = options

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Computes c - c_i, and the gradient at x.

        Args:
          start: x.
          state: c_i.
          client: The client, with its examples and c.

        Returns:
          {"correction": c - c_i, "at_start": the gradient}.
        """
        at_start = full_gradient.of_block(
            client.model, client.block, self._options
        )
        return {
            **super().constants(start, state, client),
            "at_start": at_start,
        }

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sets c_i anew by option I.

        Args:
          message: The message as the hooks before this one left it.
          state: c_i.
          client: The client after its last step, with the gradient at x.

        Returns:
          (the message with the change of c_i as an extra, the new c_i).
        """
        at_start = client.constants["at_start"]
        changes = list(map(tf.subtract, at_start, state))
        return self._sent(message, changes), at_start


class Scaffold(FedAvg):
    """Federated averaging with control variates."""

    uncompressed: ClassVar[str] = (
        "the changes of control variates that its clients send too must "
        "add up exactly"
    )

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses what control variates are wrong or unsafe with.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If clients are private, or their optimizer is adaptive.
        """
        refusals.refuse_private(
            config,
            "the number of clients that came, which the control variates need, "
            "has no noise",
        )
        if config.algorithm.scaffold_option == 1:
            refusals.refuse_private_examples(
                config,
                "a control variate of --scaffold_option=1 is a gradient "
                "without noise",
                "choose --scaffold_option=2",
            )
        refusals.refuse_robust(
            config,
            "the server's control variate is the sum of all clients' changes, "
            "and what a rule leaves out of it would be missing for ever",
        )
        fed_nova.check_optimizer(
            config, "control variates are made of the progress of local steps"
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the control variates.

        Args:
          context: The arguments of the algorithm.
        """
        config, weight = context.config, context.population_weight
        if config.algorithm.scaffold_option == 1:
            return [FullGradients(weight, config.clients)]
        momentum = fed_nova.momentum_of(config.clients.optimizer)
        return [ControlVariates(weight, momentum)]
