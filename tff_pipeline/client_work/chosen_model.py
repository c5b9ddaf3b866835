"""A client's choice of one among several models, the one that fits it best."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
    Received,
)
from tff_pipeline.client_work.steps import assign
from tff_pipeline.client_work.uncounted import uncounted


class ChosenModel(ClientHook):
    """Starts a client from the model with the least loss on its examples.

    The first model is the server's, the others are this hook's value there.
    """

    name = "ifca"
    keeps = False

    def __init__(self, num_clusters: int, at_once: int):
        """Makes the hook.

        Args:
          num_clusters: k, the number of models.
          at_once: The number of examples that are computed at a time.
        """
        self._k = num_clusters
        self._at_once = at_once

    def describe(self) -> str:
        """Describes what is sent beside the model delta."""
        return "with the number of its model"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns j before the choice.

        Args:
          specs: Of the trainable weights.
        """
        del specs
        return np.int32(0)

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes room for the models but the first, and for their shares.

        Args:
          specs: Of the trainable weights.
        """
        return {
            "models": [
                np.zeros([self._k - 1, *spec.shape], spec.dtype.as_numpy_dtype)
                for spec in specs
            ],
            "shares": np.zeros([self._k], np.float32),
        }

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Chooses the client's model.

        Args:
          weights: The first model.
          state: Not used.
          client: The client, with the other models.

        Returns:
          (the weights of model j, j, an int32 scalar).
        """
        stacks = [
            tf.concat([first[tf.newaxis], others], axis=0)
            for first, others in zip(weights, client.server_value["models"])
        ]
        losses = [
            mean_loss(
                client.model,
                [s[j] for s in stacks],
                client.block,
                self._at_once,
            )
            for j in range(self._k)
        ]
        chosen = best_of(losses)
        return [stack[chosen] for stack in stacks], chosen

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Sends the delta of the client's model, in its place among k.

        Args:
          message: The message as the hooks before this one left it.
          state: j.
          client: Not used.

        Returns:
          (the message with the deltas of all models, of which all but one are
          zeros, and with who chose what; j).
        """
        came = tf.one_hot(state, self._k)
        delta = tf.nest.flatten(message.update)
        others = [
            tf.reshape(came[1:], [-1] + [1] * len(each.shape)) * each
            for each in delta
        ]
        first = tf.nest.pack_sequence_as(
            message.update, [came[0] * each for each in delta]
        )
        extra = {"deltas": others, "shares": came}
        extras = {**message.extras, self.name: extra}
        return message._replace(update=first, extras=extras), state

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Moves each model by the mean of the clients that chose it.

        Args:
          value: The models but the first.
          mean: What came of the clients' messages: the sums of deltas, and of
            weights, over the weight of all clients.

        Returns:
          (the delta of the first model, the models but the first).
        """
        shares = mean.extra["shares"]
        first = tf.nest.map_structure(
            lambda each: tf.math.divide_no_nan(each, shares[0]), mean.update
        )
        models = [
            model
            - tf.math.divide_no_nan(
                delta,
                tf.reshape(shares[1:], [-1] + [1] * (len(delta.shape) - 1)),
            )
            for model, delta in zip(value["models"], mean.extra["deltas"])
        ]
        return first, {"models": models, "shares": shares}


def mean_loss(
    model: tff.learning.models.VariableModel,
    weights: Sequence[tf.Tensor],
    block: Mapping[str, tf.Tensor],
    at_once: int,
) -> tf.Tensor:
    """Computes the mean loss of all examples of a client.

    Args:
      model: The model, whose trainable weights it changes.
      weights: The trainable weights at which the loss is computed.
      block: The client's data, as `client_block` makes them.
      at_once: The number of examples that are computed at a time.

    Returns:
      A float32 scalar; infinity in place of what is no number.
    """
    assign(model.trainable_variables, weights)
    examples = tf.shape(block["x"])[0]

    def add(start: tf.Tensor, total: tf.Tensor) -> Any:
        here = slice(start, start + at_once)
        x, y = block["x"][here], block["y"][here]
        loss = model.forward_pass((x, y), training=False).loss
        return start + at_once, total + loss * tf.cast(
            tf.shape(x)[0], tf.float32
        )

    with uncounted(model):
        _, total = tf.while_loop(
            lambda start, _: start < examples,
            add,
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )
    total /= tf.cast(examples, tf.float32)
    return tf.where(tf.math.is_nan(total), np.inf, total)


def best_of(losses: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the place of the least loss, the first of equals, an int32.

    Args:
      losses: Scalars.
    """
    return tf.argmin(tf.stack(losses), output_type=tf.int32)
