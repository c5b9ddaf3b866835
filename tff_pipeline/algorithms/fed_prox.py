"""FedProx: clients that stay near the weights that they received.

Li et al. 2020, "Federated Optimization in Heterogeneous Networks", equation 2:
every client minimizes its loss plus mu / 2 ||w - w^t||^2, where w^t are the
server's weights. `tff.learning`'s own FedProx, in 0.87, adds that term with the
other sign and pushes clients away.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import ClientHook, GradientsFn, Step


class Proximal(ClientHook):
    """Adds the gradient of mu / 2 ||w - w^t||^2 to that of every step."""

    name = "proximal"

    def __init__(self, mu: float):
        """Makes the hook.

        Args:
          mu: The weight of the term, at least 0.
        """
        self._mu = mu

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes the step's gradient plus mu (w - w^t).

        Args:
          gradients_fn: Takes the gradient of the loss.
          state: Not used.
          step: The model, with w, and the weights w^t.

        Returns:
          (the gradient, the state as it was).
        """
        pulled = [
            gradient + self._mu * (weight - start)
            for gradient, weight, start in zip(
                gradients_fn(), step.model.trainable_variables, step.start
            )
        ]
        return pulled, state


class FedProx(FedAvg):
    """Federated averaging whose clients stay near where they started."""

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the proximal term; none if mu is 0, which is `fed_avg`.

        Args:
          context: The arguments of the algorithm.
        """
        mu = context.config.algorithm.fed_prox_mu
        return [Proximal(mu)] if mu else []
