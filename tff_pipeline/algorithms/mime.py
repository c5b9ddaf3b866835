"""Mime: MimeLite with gradients that are corrected by the cohort's.

Karimireddy et al. 2021, algorithm 1, with SGD and momentum as the base. In the
notation of `mime_lite`, a client steps

    y <- y - lr ((1 - b) (g(y) - g(x) + c) + b s)

where g(y) and g(x) are of the same batch and the same dropout. For one step a
client it is MimeLite.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext, is_finite
from tff_pipeline.algorithms.mime_lite import MimeLite, moved
from tff_pipeline.client_work import full_gradient, other_weights
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    GradientsFn,
    Received,
    Step,
    zeros,
)
from tff_pipeline.client_work.update import num_bytes
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runtime import compat


class CorrectedMomentum(ClientHook):
    """Steps with s along gradients that are corrected by c, as in Mime."""

    name = "mime"

    def describe(self) -> str:
        """Describes what is sent before the model delta."""
        return "after the gradient of all its examples, sent before"

    def __init__(self, momentum: float):
        """Makes the hook.

        Args:
          momentum: The share b of s in a step, 0 to 1.
        """
        self._momentum = momentum

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes s before the first round, 0, and room for c.

        Args:
          specs: Of the trainable weights.
        """
        return {"c": zeros(specs), "s": zeros(specs)}

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Returns (1 - b) c + b s.

        Args:
          start: Not used.
          state: Not used.
          client: The client, with s and c.
        """
        value = client.server_value
        return moved(value["s"], value["c"], self._momentum)

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Mixes the corrected gradient of a step with s.

        Args:
          gradients_fn: Takes the gradient of the batch, at the model's weights.
          state: Not used.
          step: The step, with (1 - b) c + b s.

        Returns:
          ((1 - b) (g(y) - g(x) + c) + b s, the state as it was).
        """
        at_y = list(gradients_fn())
        at_x = other_weights.gradient_at(step.start, gradients_fn, step)
        mixed = [
            (1.0 - self._momentum) * (y - x) + constant
            for y, x, constant in zip(at_y, at_x, step.constants)
        ]
        return mixed, state

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Sets s anew by c.

        Args:
          value: s, and c of this round.
          mean: What came of the clients' messages.

        Returns:
          (the model delta as it was, the new value).
        """
        after = moved(value["s"], value["c"], self._momentum)
        return mean.update, {"c": value["c"], "s": after}


class Mime(MimeLite):
    """MimeLite with gradients that are corrected by the cohort's.

    A round has two passes: the cohort's gradients at x come first.
    """

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses what MimeLite does, and other aggregators than the mean.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the clients' optimizer is not SGD, or the aggregator
            not the mean.
        """
        super().check(config)
        refusals.refuse_aggregators(
            config,
            "its first pass takes the mean of clients' gradients",
            "leave --aggregator out, or choose mime_lite, in which all goes "
            "through the aggregator",
        )

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds both passes.

        Args:
          context: The arguments of the algorithm.
        """
        super().__init__(context)
        self._mean_gradient = full_gradient.build_mean(
            context.model_fn, self.update, context.config.clients
        )
        # The gradient at x goes up in the first pass.
        self.bytes_up = num_bytes(self.update.result_type) + num_bytes(
            self.update.weights_type.trainable
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the server's momentum, with the correction.

        Args:
          context: The arguments of the algorithm.
        """
        momentum = float(context.config.algorithm.mime_momentum or 0.0)
        return [CorrectedMomentum(momentum)]

    def run_round(
        self, state: Any, data: Sequence[Any], kept: Sequence[Any]
    ) -> tuple[Any, Any, Sequence[Any]]:
        """Runs one round: the cohort's gradient at x first, then its steps.

        Args:
          state: The server's state.
          data: The data of the cohort's clients.
          kept: The kept states of these clients.

        Returns:
          See `Algorithm.run_round`.
        """
        c = self._mean_gradient(state.global_model_weights, data)
        if not is_finite(c):
            # Nobody came; the mean of none refuses the round.
            c = state.client_work["mime"]["c"]
        values = {**state.client_work["mime"], "c": c}
        state = state._replace(
            client_work={**state.client_work, "mime": values}
        )
        return super().run_round(state, data, kept)
