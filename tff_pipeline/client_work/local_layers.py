"""Layers that stay on a client, in a model whose other weights travel."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    GradientsFn,
    Message,
    Received,
    Step,
)
from tff_pipeline.client_work.steps import assign
from tff_pipeline.models import name_patterns
from tff_pipeline.models.weight_groups import WithoutFrozen
from tff_pipeline.runtime import compat


def places(names: Sequence[str], pattern: Optional[str]) -> tuple[int, ...]:
    """Finds the weights that stay on clients.

    >>> places(["dense/kernel", "dense/bias", "dense_1/kernel"], None)
    (2,)
    >>> places(["dense/kernel", "dense/bias", "dense_1/kernel"], "bias")
    (1,)

    Args:
      names: The names of the trainable weights, in order.
      pattern: A regular expression that is found in the names of those that
        stay; `None` for those of the last layer.

    Returns:
      Their places in `names`.

    Raises:
      ConfigError: If it is found in none or in all of them.
    """
    if pattern is None:
        last = names[-1].rpartition("/")[0]
        found = tuple(
            place
            for place, name in enumerate(names)
            if name.rpartition("/")[0] == last
        )
    else:
        found = name_patterns.matching(names, pattern)
    if not 0 < len(found) < len(names):
        raise errors.ConfigError(
            f"--local_layers={pattern or 'the last layer'} keeps "
            f"{'all' if found else 'none'} of the model's weights on clients, "
            "and some must stay and some travel; they are: "
            f"{name_patterns.listed(names)}."
        )
    return found


class SharedModel(WithoutFrozen):
    """View of a model that does not show `tff.learning` its local layers.

    Attributes:
      kept_variables: The variables of the layers that stay on a client.
    """

    def __init__(
        self, model: tff.learning.models.VariableModel, local: Sequence[int]
    ):
        """Wraps a model.

        Args:
          model: The model, as `Task.tff_model_fn` makes it.
          local: The places of the local weights among its trainable ones.
        """
        super().__init__(compat.keras_model(model), model)
        trainable = self._groups.trainable
        self.kept_variables = [trainable[place] for place in local]
        self._groups = self._groups._replace(
            trainable=[v for i, v in enumerate(trainable) if i not in local]
        )
        if hasattr(model, "loss_terms"):
            self.loss_terms = model.loss_terms


class LocalLayers(ClientHook):
    """Trains the layers that stay on a client, before or with the others.

    Their steps are those of SGD, whatever the client's optimizer.
    """

    name = "local_layers"

    def __init__(
        self,
        initial: Sequence[npt.NDArray[Any]],
        rate: Optional[float] = None,
        epochs_before: int = 0,
        keeps: bool = True,
        sends: bool = False,
    ):
        """Makes the hook.

        Args:
          initial: The weights with which these layers begin.
          rate: Their learning rate, before the schedule's factor; by default
            the client's.
          epochs_before: The number of epochs in which they alone train, before
            the other layers do and they rest; 0 to train all together.
          keeps: Whether the client keeps them after the round; else they begin
            anew in every round.
          sends: Whether to send them, for evaluation alone.
        """
        self._initial = list(initial)
        self._rate = rate
        self.more_epochs = epochs_before
        self.keeps = keeps
        self._sends = sends

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns the weights with which the layers begin.

        Args:
          specs: Of the weights that travel.
        """
        del specs
        return self._initial

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Puts the client's layers into the model.

        Args:
          weights: The weights that travelled.
          state: The client's layers.
          client: The client before its first step.

        Returns:
          Both as they were.
        """
        assign(client.model.kept_variables, state)
        return weights, state

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes a step of the client's layers, and the others' gradient.

        Args:
          gradients_fn: Not used: one pass gives the gradient of all layers.
          state: The client's layers.
          step: The step.

        Returns:
          (the gradient of the layers that travel, the client's layers).
        """
        del gradients_fn
        shared, kept = step.model.trainable_variables, step.model.kept_variables
        found = list(step.gradient_of([*shared, *kept]))
        gradients, own = found[: len(shared)], found[len(shared) :]
        rate = step.rate(self._rate)
        if self.more_epochs:
            first = tf.cast(step.epoch < self.more_epochs, tf.float32)
            rate *= first
            gradients = [(1.0 - first) * each for each in gradients]
        after = [
            value - rate * tf.convert_to_tensor(each)
            for value, each in zip(state, own)
        ]
        assign(kept, after)
        return gradients, after

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Leaves the client's layers out, but for evaluation.

        Args:
          message: The message as the hooks before this one left it.
          state: The client's layers.
          client: Not used.

        Returns:
          (the message, the client's layers).
        """
        if self._sends:
            extras = {**message.extras, self.name: list(state)}
            message = message._replace(extras=extras)
        return message, state
