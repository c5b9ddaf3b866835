"""FedNova: clients that take more steps count no more for it.

Wang et al. 2020, "Tackling the Objective Inconsistency Problem in Heterogeneous
Federated Optimization", section 4: a client sends d_i = (x - y_i) / ||a_i||_1
and the server steps by (sum_i p_i ||a_i||_1) sum_i p_i d_i, where a_i says how
much each of the client's gradients moved it, in units of the learning rate.
With equal numbers of steps it is `fed_avg`.

As in `fed_avg`, p_i is the client's share of the weights of its cohort.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.algorithms.algorithm import (
    AlgorithmContext,
    refuse_private,
)
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
)
from tff_pipeline.config import ExperimentConfig, OptimizerConfig

# The clients' optimizers whose a_i are known.
OPTIMIZERS = ("sgd", "momentum")


def accumulated(steps: tf.Tensor, momentum: float = 0.0) -> tf.Tensor:
    """Computes ||a||_1, how far `steps` unit gradients move a client.

    Of SGD it is the number of steps K; of momentum rho it is
    (K - rho (1 - rho^K) / (1 - rho)) / (1 - rho).

    >>> round(float(accumulated(tf.constant(10.0), 0.9)), 4)
    41.3811

    Args:
      steps: The number of steps, a float32 scalar.
      momentum: The share rho of the last step that is added to the next, below
        1.

    Returns:
      float32, in units of the learning rate.
    """
    rho = momentum
    if not rho:
        return steps
    gone = rho * (1.0 - tf.pow(rho, steps)) / (1.0 - rho)
    return (steps - gone) / (1.0 - rho)


def momentum_of(optimizer: OptimizerConfig) -> float:
    """Returns the momentum of an optimizer of `OPTIMIZERS`.

    Args:
      optimizer: The optimizer.
    """
    return float(optimizer.momentum or 0.0)


def check_optimizer(config: ExperimentConfig, why: str) -> None:
    """Checks that the clients' optimizer is one whose a_i is known.

    Args:
      config: The experiment.
      why: Part of a sentence that says what needs it.

    Raises:
      ConfigError: If it is not.
    """
    chosen = config.clients.optimizer.name
    if chosen not in OPTIMIZERS:
        raise errors.ConfigError(
            f"--algorithm={config.algorithm.name} with "
            f"--client_optimizer={chosen}: {why}, which is known for sgd and "
            "momentum alone; choose one of these."
        )


class Normalized(ClientHook):
    """Sends the model delta a unit of local progress, and the progress."""

    name = "fed_nova"

    def __init__(self, momentum: float):
        """Makes the hook.

        Args:
          momentum: The momentum of the clients' optimizer.
        """
        self._momentum = momentum

    def describe(self) -> str:
        """Describes the division."""
        return "divided by its number of steps, which is sent along"

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Divides the model delta by ||a_i||_1.

        Args:
          message: The message as the hooks before this one left it.
          state: Not used.
          client: The client after its last step.

        Returns:
          (the message with ||a_i||_1 as an extra, the state as it was).
        """
        steps = tf.cast(client.num_steps, tf.float32)
        norm = accumulated(steps, self._momentum)
        update = tf.nest.map_structure(
            lambda delta: tf.math.divide_no_nan(delta, norm), message.update
        )
        extras = {**message.extras, self.name: norm}
        return message._replace(update=update, extras=extras), state

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Multiplies the mean by that of all ||a_i||_1.

        Args:
          value: Not used.
          mean: What came of the clients' messages.

        Returns:
          (the model delta, the value as it was).
        """
        update = tf.nest.map_structure(
            lambda delta: delta * mean.extra, mean.update
        )
        return update, value


class FedNova(FedAvg):
    """Federated averaging of progress a step."""

    uncompressed: ClassVar[str] = (
        "the numbers of steps that its clients send too must be exact"
    )

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses optimizers whose progress a step is not known.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the clients' optimizer is adaptive, or private.
        """
        refuse_private(
            config,
            "the number of steps that is sent beside the model delta would "
            "take most of the clip",
        )
        check_optimizer(config, "it divides by the progress of local steps")

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the division.

        Args:
          context: The arguments of the algorithm.
        """
        return [Normalized(momentum_of(context.config.clients.optimizer))]
