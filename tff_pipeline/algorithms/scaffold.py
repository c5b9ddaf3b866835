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

from tff_pipeline.algorithms import fed_nova
from tff_pipeline.algorithms.algorithm import (
    AlgorithmContext,
    refuse_private,
)
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import full_gradient
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    GradientsFn,
    Message,
    Step,
    zeros,
)
from tff_pipeline.config import ExperimentConfig


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

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Corrects the gradient of a step.

        Args:
          gradients_fn: Takes the gradient of the loss.
          state: c_i.
          step: The step, with c.

        Returns:
          (g - c_i + c, c_i).
        """
        corrected = [
            gradient - own + c
            for gradient, own, c in zip(
                gradients_fn(), state, step.server_value
            )
        ]
        return corrected, state

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

    Within a round a client's state holds c_i and the gradient at x, which costs
    a pass over its examples; what it keeps is twice as large as for option II.
    """

    def __init__(self, population_weight: float, at_once: int):
        """Makes the hook.

        Args:
          population_weight: The sum of the weights of all clients.
          at_once: The number of examples that are computed at a time.
        """
        super().__init__(population_weight)
        self._at_once = at_once

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes c_i of a client that never came, and room for a gradient.

        Args:
          specs: Of the trainable weights.
        """
        return {"own": zeros(specs), "at_start": zeros(specs)}

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Corrects the gradient of a step; takes that at x in the first.

        Args:
          gradients_fn: Takes the gradient of the loss.
          state: c_i, and the gradient at x after the first step.
          step: The step, with c.

        Returns:
          (g - c_i + c, the state).
        """
        at_start = tf.cond(
            step.number > 0,
            lambda: list(state["at_start"]),
            lambda: full_gradient.of_block(
                step.model, step.block, self._at_once
            ),
        )
        corrected, own = super().gradients(gradients_fn, state["own"], step)
        return corrected, {"own": own, "at_start": at_start}

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sets c_i anew by option I.

        Args:
          message: The message as the hooks before this one left it.
          state: c_i and the gradient at x.
          client: The client after its last step.

        Returns:
          (the message with the change of c_i as an extra, the new c_i).
        """
        own, at_start = state["own"], state["at_start"]
        changes = list(map(tf.subtract, at_start, own))
        room = list(map(tf.zeros_like, at_start))
        return self._sent(message, changes), {"own": at_start, "at_start": room}


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
        refuse_private(
            config,
            "the number of clients that came, which the control variates need, "
            "has no noise",
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
            return [FullGradients(weight, config.clients.batch_size)]
        momentum = fed_nova.momentum_of(config.clients.optimizer)
        return [ControlVariates(weight, momentum)]
