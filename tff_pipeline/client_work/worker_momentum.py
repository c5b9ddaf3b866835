"""Worker momentum: clients send a running sum of their updates.

Karimireddy, He, Jaggi 2021, "Learning from History for Byzantine Robust
Optimization", algorithm 2: the variance of what honest clients send falls, and
a hostile one must stand out to do harm. As in their code, and unlike the
paper's formula, the newest update is not multiplied by 1 - beta.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    Message,
    zeros,
)


class WorkerMomentum(ClientHook):
    """Sends m = beta m + update, and keeps m until the client's next round."""

    name = "worker_momentum"

    def __init__(self, beta: float):
        """Makes the hook.

        Args:
          beta: The share of m that is kept, at least 0 and below 1.
        """
        self._beta = beta

    def describe(self) -> str:
        """Describes the sum."""
        return f"added to {self._beta:g} times what was sent last"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the m of a client that never took part: zeros.

        Args:
          specs: Of the trainable weights.
        """
        return zeros(specs)

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the model delta by the sum.

        Args:
          message: The message as the hooks before this one left it.
          state: The m of the client's last round.
          client: The client after its last step.

        Returns:
          (the message, the new m).
        """
        del client
        flat = tf.nest.flatten(message.update)
        sums = [self._beta * old + new for old, new in zip(state, flat)]
        update = tf.nest.pack_sequence_as(message.update, sums)
        return message._replace(update=update), sums
