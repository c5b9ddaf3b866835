"""Ditto: beside the global model each client trains one of its own.

Li et al. 2021, "Ditto: Fair and robust federated learning through
personalization", algorithm 1. The global w is trained as by `fed_avg`. Client k
keeps v_k, which begins like w, and in each of its steps moves it by

    v_k <- v_k - lr (g(v_k) + lambda (v_k - w))

with the batch of w's step, where w is what the client received in this round.
With lambda 0 it is local training. v_k goes nowhere.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Optional

import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work import other_weights
from tff_pipeline.client_work.hooks import ClientHook, GradientsFn, Step


class OwnModel(ClientHook):
    """Trains a client's own model v beside the one that travels, by SGD."""

    name = "ditto"

    def __init__(
        self,
        initial: Sequence[npt.NDArray[Any]],
        weight: float,
        rate: Optional[float] = None,
    ):
        """Makes the hook.

        Args:
          initial: The weights with which v begins.
          weight: lambda, the weight of the term that keeps v near w.
          rate: The learning rate of v, before the schedule's factor; by default
            the client's.
        """
        self._initial = list(initial)
        self._weight = weight
        self._rate = rate

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns the weights with which v begins.

        Args:
          specs: Of the trainable weights.
        """
        del specs
        return self._initial

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes a step of v.

        Args:
          gradients_fn: Takes the gradient of the batch.
          state: v.
          step: The step.

        Returns:
          (the gradient at the weights that travel, v after its step).
        """
        gradients = list(gradients_fn())
        at_v = other_weights.gradient_at(state, gradients_fn, step)
        rate = step.rate(self._rate)
        after = [
            v - rate * (gradient + self._weight * (v - w))
            for v, gradient, w in zip(state, at_v, step.start)
        ]
        return gradients, after


class Ditto(FedAvg):
    """Federated averaging whose clients keep models of their own."""

    personal: ClassVar[bool] = True
    unpruned: ClassVar[str] = (
        "clients' own models would hold what the server's has pruned"
    )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the client's own model.

        Args:
          context: The arguments of the algorithm.
        """
        assert context.initial_weights is not None  # Assembly gives it.
        weights = context.initial_weights(context.config.run.seed)
        algorithm = context.config.algorithm
        return [
            OwnModel(
                weights.trainable,
                float(algorithm.ditto_lambda or 0.0),
                algorithm.personal_learning_rate,
            )
        ]

    @property
    def notes(self) -> Sequence[str]:
        """Says what a client's steps are."""
        return [
            "ditto: in each of its steps a client trains two models, the one "
            "that travels as fed_avg does, and its own by SGD."
        ]

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Returns v of a client.

        Args:
          state: The server's state.
          kept_state: The kept state of that client.
          data: Not used.
        """
        del data
        return tff.learning.models.ModelWeights(
            list(kept_state[OwnModel.name]),
            self.process.get_model_weights(state).non_trainable,
        )
