"""Sends the model as bytes to clients that hold the one sent before.

The server keeps a copy w of what it sent last. In a round it encodes what the
model x is ahead of the copy, adds the decoded code to the copy,

    w <- w + C(x - w),

and clients begin with the new w. What the code lost is still in x - w the next
time, which is the server's one memory of errors. A client that was in the round
before holds the same w and receives the code alone; any other receives the new
w whole. Where the code would bring w no nearer to x, as of the first model, w
becomes x and everyone receives it whole.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.compressed.compressor import Compressor, Specs
from tff_pipeline.client_work.hooks import (
    ClientHook,
    CohortMean,
    Finished,
    Message,
    zeros,
)


class HeldModel(ClientHook):
    """Keeps on a client the number of the last model that it received.

    The number of the round's model, from 1, is the hook's value at the server.
    A client that was lost, late or rejected counts as one that holds none.
    """

    name = "held_model"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the number of a client that never received a model: 0.

        Args:
          specs: Not used.
        """
        del specs
        return np.int32(0)

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the number of the first model.

        Args:
          specs: Not used.
        """
        del specs
        return np.int32(1)

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Keeps the number of the round's model.

        Args:
          message: The message, which stays as it is.
          state: The number of the model before.
          client: The client, which received the number.

        Returns:
          (the message, the number of the round's model).
        """
        del state
        return message, client.server_value

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Counts on.

        Args:
          value: The number of the round's model.
          mean: What came of the clients' messages.

        Returns:
          (the model delta as it was, the number of the next model).
        """
        return mean.update, value + 1


@dataclasses.dataclass(frozen=True)
class ModelCode:
    """Encodes the model against the server's copy of what it sent last.

    Attributes:
      compressor: The code.
      seed: The experiment's seed, from which the code is drawn.
    """

    compressor: Compressor
    seed: int

    def initial_state(self, specs: Specs) -> Any:
        """Makes the server's state before the first round.

        Args:
          specs: Of the trainable weights.

        Returns:
          A dict of NumPy arrays: `copy`, the model that was sent last, and
          `code`, what the compressor keeps, if it keeps something.
        """
        state = collections.OrderedDict(copy=zeros(specs))
        code = self.compressor.initial_state(specs)
        if code != ():
            state["code"] = code
        return state

    def send(
        self, weights: Sequence[tf.Tensor], state: Any, number: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, Any]:
        """Makes the weights that clients begin with, and the code for them.

        Args:
          weights: The trainable weights of the server's model.
          state: As `initial_state` makes it.
          number: The number of this model, from 1, an int32 scalar.

        Returns:
          (the weights that clients begin with; the number of bytes of the code,
          an int64 scalar, -1 if all receive the weights whole; the next state).
        """
        copy = list(state["copy"])
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in copy]
        ahead = list(map(tf.subtract, weights, copy))
        key = tf.stack(
            [tf.cast(number, tf.int64), tf.constant(self.seed, tf.int64)]
        )
        payload, code = self.compressor.encode(
            ahead, state.get("code", ()), key
        )
        moved = self.compressor.decode(payload, specs)
        left = tf.linalg.global_norm(list(map(tf.subtract, ahead, moved)))
        nearer = (left < tf.linalg.global_norm(ahead)) | (left <= 0.0)
        nearer &= number > 1
        sent = [
            tf.where(nearer, old + step, new)
            for old, step, new in zip(copy, moved, weights)
        ]
        after = collections.OrderedDict(copy=sent)
        if "code" in state:
            after["code"] = code
        size = tf.where(nearer, tf.size(payload, tf.int64), -1)
        return sent, size, after
