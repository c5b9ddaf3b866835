"""Momentum that goes on from one of a client's rounds to the next."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tff_pipeline.client_work.hooks import (
    ClientHook,
    GradientsFn,
    Step,
    zeros,
)


class KeptMomentum(ClientHook):
    """Steps along m <- beta m + g, where m stays on the client.

    Karimireddy, He, Jaggi 2021, "Learning from history for Byzantine robust
    optimization", algorithm 1: what honest clients send then varies less from
    round to round, so that a lie stands out. The first m is g. With one step a
    round a client sends m times its learning rate.
    """

    name = "kept_momentum"

    def __init__(self, beta: float, attackers: bool = True):
        """Makes the hook.

        Args:
          beta: The share of the last momentum that is kept, 0 to below 1.
          attackers: Whether clients that attack keep a momentum too; if not,
            their block has `mark`, which says who attacks, and they step along
            g.
        """
        self._beta = beta
        self._attackers = attackers

    def describe(self) -> str:
        """Describes what becomes of the steps that the model delta is of."""
        return "of steps with momentum that the client keeps"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the momentum of a client that never came: 0.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Gives the momentum in place of the gradient.

        Args:
          gradients_fn: Takes the gradient as the hooks before left it.
          state: The momentum after the client's last step.
          step: The step, whose block says who attacks.

        Returns:
          (the new momentum, the same).
        """
        beta: Any = self._beta
        if not self._attackers:
            beta = tf.where(step.block["mark"] > 0, 0.0, beta)
        momentum = [
            tf.cast(beta, before.dtype) * before + gradient
            for before, gradient in zip(state, gradients_fn())
        ]
        return momentum, momentum
