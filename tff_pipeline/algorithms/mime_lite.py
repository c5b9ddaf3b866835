"""MimeLite: clients step with the server's momentum, which stands.

Karimireddy et al. 2021, "Breaking the centralized barrier for cross-device
federated learning", algorithm 1, with SGD and momentum as the base. With x the
server's weights, s its momentum, and c the mean over the cohort of the
gradients of all examples at x, a client steps

    y <- y - lr ((1 - b) g(y) + b s)

After that the server takes the mean of the y, and s <- (1 - b) c + b s.

The momentum of TFF and Keras is b s + g: the same rate is 1 / (1 - b) times as
large there. A client whose gradient is not finite is left out of c and of the
mean; a cohort of none leaves s as it was.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import tensorflow as tf

from tff_pipeline.algorithms import refusals
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


class ServersMomentum(ClientHook):
    """Steps with the server's momentum s, as in MimeLite.

    The gradient of all examples at x costs a pass over them before the first
    step.
    """

    name = "mime"

    def __init__(self, momentum: float, options: ClientConfig):
        """Makes the hook.

        Args:
          momentum: The share b of s in a step, 0 to 1.
          options: The options of clients, of which the sizes of batches count.
        """
        self._momentum = momentum
        self._options = options

    def describe(self) -> str:
        """Describes what is sent beside the model delta."""
        return "with the gradient of all its examples"

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes s before the first round: 0.

        Args:
          specs: Of the trainable weights.
        """
        return {"s": zeros(specs)}

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Computes b s and the gradient at x.

        Args:
          start: x.
          state: Not used.
          client: The client, with its examples and s.

        Returns:
          {"momentum": b s, "at_start": the gradient}.
        """
        return {
            "momentum": [self._momentum * s for s in client.server_value["s"]],
            "at_start": full_gradient.of_block(
                client.model, client.block, self._options
            ),
        }

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Mixes the gradient of a step with s.

        Args:
          gradients_fn: Takes the gradient g(y).
          state: Not used.
          step: The step, with b s.

        Returns:
          ((1 - b) g + b s, the state as it was).
        """
        mixed = [
            (1.0 - self._momentum) * gradient + constant
            for gradient, constant in zip(
                gradients_fn(), step.constants["momentum"]
            )
        ]
        return mixed, state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Adds the gradient at x to what is sent.

        Args:
          message: The message as the hooks before this one left it.
          state: Not used.
          client: The client after its last step, with the gradient at x.

        Returns:
          (the message with the gradient as an extra, the state as it was).
        """
        extras = {**message.extras, self.name: client.constants["at_start"]}
        return message._replace(extras=extras), state

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Sets s anew by the cohort's mean gradient at x.

        Args:
          value: s.
          mean: What came of the clients' messages.

        Returns:
          (the model delta as it was, the new s).
        """
        return mean.update, {"s": moved(value["s"], mean.extra, self._momentum)}


def moved(
    s: Sequence[tf.Tensor], c: Sequence[tf.Tensor], b: float
) -> list[tf.Tensor]:
    """Returns (1 - b) c + b s.

    Args:
      s: The server's momentum.
      c: The cohort's mean gradient.
      b: The share of s.
    """
    return [(1.0 - b) * new + b * old for old, new in zip(s, c)]


class MimeLite(FedAvg):
    """Federated averaging whose clients step with the server's momentum."""

    uncompressed: ClassVar[str] = (
        "the gradients that its clients send too must be exact"
    )

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses another optimizer on clients than SGD.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the clients' optimizer is another, or private.
        """
        refusals.refuse_client_optimizers(
            config,
            ["sgd"],
            "clients step with the server's momentum, --mime_momentum",
            "leave --client_optimizer out",
        )
        refusals.refuse_private(
            config,
            "the gradient that is sent beside the model delta would take most "
            "of the clip",
        )
        refusals.refuse_private_examples(
            config, "the gradient of all examples that is sent has no noise"
        )

    @property
    def notes(self) -> Sequence[str]:
        """Says what a client's rate means."""
        return [
            "mime, mime_lite: clients step along (1 - b) of the gradient and b "
            "of the server's momentum, --mime_momentum=b, so that a rate is "
            "1 / (1 - b) times that of momentum elsewhere."
        ]

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the server's momentum.

        Args:
          context: The arguments of the algorithm.
        """
        config = context.config
        momentum = float(config.algorithm.mime_momentum or 0.0)
        return [ServersMomentum(momentum, config.clients)]
