"""Prunes the model while it trains, by one mask for all clients.

The server has the mask. It renews it after a round, by the schedule, from the
model's own weights, and sets to 0 what the mask leaves out. The model travels
as the mask and the kept weights; a client steps on the kept weights alone, and
sends what these moved, in the mask's order, which the server knows.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.aggregators.compressed import kept_numbers
from tff_pipeline.aggregators.compressed.compressor import (
    dimension_of,
    flattened,
    unflattened,
)
from tff_pipeline.client_work import payload_head, pruning_mask
from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    Message,
    Received,
    Step,
)
from tff_pipeline.config import PruningConfig


class Pruned(ClientHook):
    """Holds weights at zero, and sends those that are kept as one payload.

    Its value at the server is a dict of the mask `kept`, bool [n] for all
    trainable weights, and `rounds`, how many changed the model. A round that is
    refused leaves both as they were. It is the last of a client's hooks.
    """

    name = "pruning"
    encodes = True
    value_travels = False
    changes_model = True
    columns = ("sparsity",)

    def __init__(self, config: PruningConfig, tagged: bool = False):
        """Makes the hook.

        Args:
          config: The options, settled, with a share to prune to.
          tagged: True if the hook before is `tagged.TaggedClients`.
        """
        self._config = config
        self._schedule = pruning_mask.schedule_of(config)
        self._tagged = tagged
        self._specs: Sequence[tf.TensorSpec] = ()

    def describe(self) -> str:
        """Describes what is sent."""
        return (
            "of which only weights that are not pruned are sent "
            f"(--prune_to={self._config.to:g})"
        )

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the mask that keeps everything.

        Args:
          specs: Of the trainable weights.

        Raises:
          ConfigError: If none of them has two axes.
        """
        if not any(map(pruning_mask.is_pruned, specs)):
            raise errors.ConfigError(
                f"--prune_to={self._config.to} prunes weights of two axes or "
                "more, and none that trains has so many; leave it out."
            )
        self._specs = specs
        return collections.OrderedDict(
            kept=pruning_mask.all_kept(specs), rounds=np.int32(0)
        )

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Shapes the mask as the weights are.

        Args:
          start: The trainable weights before the first step.
          state: Not used.
          client: The client, which received the mask.

        Returns:
          A tensor of ones and zeros for each trainable weight.
        """
        masks = pruning_mask.split(client.server_value["kept"], start)
        return [
            tf.cast(mask, weight.dtype) for mask, weight in zip(masks, start)
        ]

    def stepped(
        self, weights: Sequence[tf.Tensor], state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Holds pruned weights at zero, whatever the optimizer remembers.

        Args:
          weights: The trainable weights after the optimizer's step.
          state: Not used.
          step: The step.

        Returns:
          (the trainable weights of the next step, the state as it was).
        """
        return list(map(tf.multiply, weights, step.constants)), state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the update by the weight and what kept weights moved.

        Args:
          message: The message as the hooks before this one left it.
          state: Not used.
          client: The client after its last step.

        Returns:
          (the message, whose update is the payload, uint8 [n]; the state as it
          was).

        Raises:
          ConfigError: If there is more in the message than the update.
        """
        if message.extras:
            raise errors.ConfigError(
                f"--prune_to={self._config.to} is for algorithms whose clients "
                "send their update alone; this one's also send "
                f"{', '.join(message.extras)}. Leave it out, or choose "
                "--algorithm=fed_avg."
            )
        vector = flattened(tf.nest.flatten(message.update))
        vector = tf.where(client.accepted, vector, tf.zeros_like(vector))
        payload = payload_head.joined(
            message.weight,
            kept_numbers.to_bytes(vector, client.server_value["kept"]),
            self._tagged,
        )
        return message._replace(update=payload), state

    def decoded(
        self,
        payload: tf.Tensor,
        specs: Sequence[tf.TensorSpec],
        server_value: Any = (),
    ) -> Message:
        """Makes the message of the bytes, with zeros where nothing was sent.

        Args:
          payload: uint8 [n].
          specs: Of the trainable weights.
          server_value: The value of the round, which has the mask.
        """
        weight, rest = payload_head.parted(payload, self._tagged)
        vector = kept_numbers.from_bytes(rest, server_value["kept"])
        vector = tf.ensure_shape(vector, [dimension_of(specs)])
        return Message(unflattened(vector, specs), weight, {})

    def trial_bytes(self, specs: Sequence[tf.TensorSpec]) -> int:
        """Returns the length of a payload before anything is pruned.

        Args:
          specs: Of the trainable weights.
        """
        return payload_head.size(self._tagged) + 4 * dimension_of(specs)

    def sent_model(
        self, weights: Sequence[tf.Tensor], value: Any
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Makes what clients begin with, by the bytes that reach them.

        Args:
          weights: The trainable weights of the server's model.
          value: The hook's value at the server.

        Returns:
          (the trainable weights as decoded; the number of bytes, an int64
          scalar).
        """
        payload = kept_numbers.to_bytes_with_mask(
            flattened(weights), value["kept"]
        )
        size = dimension_of(weights)
        vector, _ = kept_numbers.from_bytes_with_mask(payload, size)
        vector = tf.ensure_shape(vector, [size])
        return unflattened(vector, weights), tf.size(payload, tf.int64)

    def model_at_server(
        self, value: Any, weights: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], Any]:
        """Renews the mask by the schedule, and prunes the model.

        Args:
          value: The value of the round.
          weights: The trainable weights after the server's step.

        Returns:
          (the pruned weights, the value of the next round).
        """
        rounds = value["rounds"] + 1
        now, share = self._schedule(rounds)
        kept = tf.cond(
            now,
            lambda: pruning_mask.renewed(value["kept"], weights, share),
            lambda: value["kept"],
        )
        masks = pruning_mask.split(kept, weights)
        # Times the mask, a negative weight would be -0, of other bits than 0.
        pruned = [
            tf.where(mask, weight, tf.zeros_like(weight))
            for mask, weight in zip(masks, weights)
        ]
        return pruned, collections.OrderedDict(kept=kept, rounds=rounds)

    def figures(self, value: Any) -> Mapping[str, Union[int, float]]:
        """Measures the share of pruned weights.

        Args:
          value: The hook's value at the server.

        Returns:
          The column `sparsity`: zeros by all weights that can be pruned.
        """
        kept = np.asarray(value["kept"])
        return {"sparsity": round(pruning_mask.sparsity(kept, self._specs), 6)}
