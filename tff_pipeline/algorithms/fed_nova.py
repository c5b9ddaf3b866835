"""FedNova: clients that take more steps count no more for it.

Wang et al. 2020, "Tackling the Objective Inconsistency Problem in Heterogeneous
Federated Optimization", section 4: a client sends d_i = (x - y_i) / ||a_i||_1
and the server steps by (sum_i p_i ||a_i||_1) sum_i p_i d_i, where a_i says how
much each of the client's gradients moved it, in units of the learning rate.
With equal numbers of steps it is `fed_avg`.

With a proximal term mu, steps of rate lr, momentum rho and gradients g_k, a
client moves, from d_0 = u_0 = 0, to x - lr d_K by

    u_k = rho u_{k-1} + g_k,    d_k = (1 - lr mu) d_{k-1} + u_k

The term stands outside of the momentum, unlike in `fed_prox`, whose term is a
part of g_k; without momentum both are the same. The authors' program writes
the term into the momentum and counts it twice.

As in `fed_avg`, p_i is the client's share of the weights of its cohort.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
    Step,
)
from tff_pipeline.config import ExperimentConfig, OptimizerConfig

# The clients' optimizers whose a_i are known.
OPTIMIZERS = ("sgd", "momentum")


def accumulated(
    steps: tf.Tensor,
    momentum: float = 0.0,
    pull: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """Computes ||a||_1, how far `steps` unit gradients move a client.

    Of SGD it is the number of steps K; of momentum rho it is
    (K - rho (1 - rho^K) / (1 - rho)) / (1 - rho). With a proximal term it is
    d_K of the recursion above, with u_k = (1 - rho^k) / (1 - rho) written out.

    >>> steps = tf.constant(10.0)
    >>> round(float(accumulated(steps, 0.9)), 4)
    41.3811
    >>> round(float(accumulated(steps, 0.9, tf.constant(0.05))), 4)
    35.2421

    Args:
      steps: The number of steps, a float32 scalar.
      momentum: The share rho of the last step that is added to the next, below
        1.
      pull: lr mu, the share of its way that the proximal term takes a client
        back in a step, a float32 scalar, 0 to 1; `None` without the term.

    Returns:
      float32, in units of the learning rate.
    """
    rho = momentum
    if pull is not None:
        numbers = tf.range(1.0, steps + 1.0)
        speeds = (1.0 - tf.pow(rho, numbers)) / (1.0 - rho)
        return tf.reduce_sum(tf.pow(1.0 - pull, steps - numbers) * speeds)
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
    refusals.refuse_client_optimizers(
        config,
        OPTIMIZERS,
        f"{why}, which is known for sgd and momentum alone",
        "choose one of these",
    )


class Normalized(ClientHook):
    """Sends the model delta a unit of local progress, and the progress.

    With a proximal term, it pulls each step back too.
    """

    name = "fed_nova"

    def __init__(self, momentum: float, mu: float = 0.0):
        """Makes the hook.

        Args:
          momentum: The momentum of the clients' optimizer.
          mu: The weight of the proximal term, 0 for none.
        """
        self._momentum = momentum
        self._mu = mu

    def describe(self) -> str:
        """Describes the division."""
        return "divided by its number of steps, which is sent along"

    def stepped(
        self, weights: Sequence[tf.Tensor], state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes lr mu (w - x) off the weights after a step from w.

        Args:
          weights: The trainable weights after the optimizer's step.
          state: Not used.
          step: The model, with w, and the weights x that the client received.

        Returns:
          (the weights after the proximal term, the state as it was).
        """
        if not self._mu:
            return weights, state
        pull = step.learning_rate * self._mu
        pulled = [
            weight - pull * (before - start)
            for weight, before, start in zip(
                weights, step.model.trainable_variables, step.start
            )
        ]
        return pulled, state

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
        pull = client.learning_rate * self._mu if self._mu else None
        norm = accumulated(steps, self._momentum, pull)
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
          ConfigError: If the clients' optimizer is adaptive, or private, or
            their proximal term overshoots.
        """
        refusals.refuse_private(
            config,
            "the number of steps that is sent beside the model delta would "
            "take most of the clip",
        )
        if config.aggregation.by_distance:
            refusals.refuse_robust(
                config,
                "the number of steps in each message would decide what is near",
            )
        check_optimizer(config, "it divides by the progress of local steps")
        mu = config.algorithm.fed_prox_mu or 0.0
        rate = config.clients.optimizer.learning_rate
        if mu * rate > 1:
            raise errors.ConfigError(
                f"--fed_prox_mu={mu:g} with --client_learning_rate={rate:g}: "
                "their product is the share of its way that a client is taken "
                "back in a step, at most 1; choose a smaller one of them."
            )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the division, with the proximal term.

        Args:
          context: The arguments of the algorithm.
        """
        config = context.config
        mu = float(config.algorithm.fed_prox_mu or 0.0)
        return [Normalized(momentum_of(config.clients.optimizer), mu)]
