"""Turns a client's message into bytes, and keeps what they lost.

With error feedback (Seide et al. 2014; Karimireddy et al. 2019, algorithm 2) a
client adds to its update u what its messages lost so far, the memory e:

    sends C(u + e),   e <- u + e - C(u + e),

so that all that it sent, as decoded, and its memory add up to all its updates.
The memory is in units of the update before any weight. It stays with its client
while that takes no part. Of a message that did not count, for it came too late
or its round was lost, the payload is put back,

    e <- e + C(u + e), so that it is u + e,

and what counted, as decoded, and the memory still add up to all updates. Two
kinds have no place in that sum and leave the memory as it was: an update that
is not finite, and one so large that with it no later mean would be finite.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.aggregators.compressed.compressor import Compressor, Specs
from tff_pipeline.client_work import block, payload_head
from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    Message,
    zeros,
)

# Below the square root of the largest float32: sums of squares of such numbers,
# and of such numbers times weights, are finite.
_LARGEST_MEMORY = 1e18


class Compressed(ClientHook):
    """Encodes the update, and sends it with the weight as one payload.

    It is the last of a client's hooks: nothing else sees the bytes. The payload
    is the weight (float32), or the tag that stands in its place (20 bytes), and
    then what the compressor made.
    """

    name = "compression"
    encodes = True

    def __init__(self, compressor: Compressor, tagged: bool = False):
        """Makes the hook.

        Args:
          compressor: The code. If it is biased, the client keeps what it loses.
          tagged: True if the hook before is `tagged.TaggedClients`.
        """
        self._compressor = compressor
        self._tagged = tagged
        self.puts_back = compressor.biased

    def describe(self) -> str:
        """Describes the code."""
        return f"as bytes, {self._compressor.describe()}"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the memory, which is 0, and what the code keeps besides.

        Args:
          specs: Of the trainable weights.

        Returns:
          A dict with `memory` and `code`, as far as there is such.
        """
        state = {"code": self._compressor.initial_state(specs)}
        if self._compressor.biased:
            state["memory"] = zeros(specs)
        return {name: value for name, value in state.items() if value != ()}

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the update by a payload, which holds the weight too.

        Args:
          message: The message as the hooks before this one left it.
          state: The client's memory.
          client: The client after its last step. Of one that was rejected the
            payload says zeros, and nothing of its memory.

        Returns:
          (the message, whose update is the payload, uint8 [n]; the new memory).

        Raises:
          ConfigError: If there is more in the message than the update.
        """
        if message.extras:
            raise errors.ConfigError(
                "--compression is for algorithms whose clients send their "
                "update alone; this one's also send "
                f"{', '.join(message.extras)}. Leave it out, or choose "
                "--algorithm=fed_avg."
            )
        leaves = tf.nest.flatten(message.update)
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in leaves]
        after = dict(state or {})
        if self._compressor.biased:
            leaves = list(map(tf.add, leaves, after["memory"]))
        leaves = [
            tf.where(client.accepted, leaf, tf.zeros_like(leaf))
            for leaf in leaves
        ]
        payload, code = self._compressor.encode(
            leaves, after.get("code", ()), block.code_key(client.block["key"])
        )
        if "code" in after:
            after["code"] = code
        if self._compressor.biased:
            sent = self._compressor.decode(payload, specs)
            after["memory"] = list(map(tf.subtract, leaves, sent))
        payload = payload_head.joined(message.weight, payload, self._tagged)
        return message._replace(update=payload), after or state

    def put_back(self, before: Any, after: Any, update: Any) -> Any:
        """Puts a payload that did not count back into the memory.

        Args:
          before: The memory before the round.
          after: The memory that is left of what the payload does not say; that
            of a client that was rejected is as before.
          update: What the payload says; zeros of such a client.

        Returns:
          The old memory and the update, and what the code kept before.
        """
        memory = list(map(tf.add, after["memory"], update))
        small = tf.reduce_all(
            [tf.reduce_all(tf.abs(leaf) < _LARGEST_MEMORY) for leaf in memory]
        )
        memory = [
            tf.where(small, leaf, old)
            for leaf, old in zip(memory, before["memory"])
        ]
        return {**before, "memory": memory}

    def decoded(
        self, payload: tf.Tensor, specs: Specs, server_value: Any = ()
    ) -> Message:
        """Turns a payload into the message that was sent.

        Args:
          payload: uint8 [n].
          specs: Of the trainable weights.
          server_value: Not used.
        """
        weight, rest = payload_head.parted(payload, self._tagged)
        return Message(self._compressor.decode(rest, specs), weight, {})

    def trial_bytes(self, specs: Specs) -> int:
        """Measures the payload of random numbers, which tells a usual length.

        Args:
          specs: Of the trainable weights.
        """
        draw = np.random.Generator(np.random.Philox(0))
        leaves = [
            tf.constant(draw.standard_normal(spec.shape), spec.dtype)
            for spec in specs
        ]
        state = self._compressor.initial_state(specs)
        key = tf.constant([0, 0], tf.int64)
        payload, _ = self._compressor.encode(leaves, state, key)
        return int(payload.shape[0]) + payload_head.size(self._tagged)
