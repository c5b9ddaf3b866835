"""A client's own model, which its neighbours receive in place of a server."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
    Received,
)


class GossipedModel(ClientHook):
    """Trains a client's own model, which goes to its neighbours.

    A client keeps `weights`, and in `round` the number of the last round in
    which it trained; who has another number than the round's was silent.
    """

    name = "gossip"
    needs_cohort_weight = True

    def __init__(self, initial: Sequence[npt.NDArray[Any]], population: int):
        """Makes the hook.

        Args:
          initial: The weights with which all clients' models begin.
          population: n, the number of clients.
        """
        self._initial = list(initial)
        self._population = population

    def describe(self) -> str:
        """Describes to whom the model goes."""
        return "added to its own model and sent to each neighbour, to no server"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns the model with which a client begins.

        Args:
          specs: Of the trainable weights.
        """
        del specs
        return {"round": np.int32(0), "weights": self._initial}

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Starts from the client's own model.

        Args:
          weights: Not used.
          state: The client's model.
          client: Not used.

        Returns:
          (x_i, the state).
        """
        del weights, client
        return list(state["weights"]), state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Keeps the model after the last step.

        Args:
          message: The message, x_i - y_i.
          state: The client's model before its steps.
          client: The client after its last step.

        Returns:
          (the message as it was, y_i with the number of the round).
        """
        delta = tf.nest.flatten(message.update)
        after = list(map(tf.subtract, client.start, delta))
        return message, {"round": client.block["round"], "weights": after}

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Takes the mean change over all clients, also those that were silent.

        Args:
          value: Not used.
          mean: The mean change of the clients that were not, and their number.

        Returns:
          (1/n sum_j (x_j - y_j), the value).
        """
        share = mean.weight / self._population
        return tf.nest.map_structure(lambda d: share * d, mean.update), value
