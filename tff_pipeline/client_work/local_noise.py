"""Clients that clip their updates and add noise of their own, then send.

Local differential privacy: what a client sends is private by itself, so that
nothing depends on trust in the server, which sums up the noise of all.
"""

from typing import Any

import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.noise import standard_normal
from tff_pipeline.client_work.hooks import ClientHook, Finished, Message

Array = npt.NDArray[Any]


class LocalNoise(ClientHook):
    """Clips all that leaves a client, and adds noise of the client's own."""

    name = "local_noise"

    def __init__(self, bound: float, noise_multiplier: float, key: Array):
        """Makes it.

        Args:
          bound: The clip, the largest L2 norm of an update.
          noise_multiplier: Standard deviation of a client's noise over that.
          key: int64 [2]; in a simulation all clients' noise comes of it.
        """
        self._bound = bound
        self._stddev = noise_multiplier * bound
        self._key = key

    def describe(self) -> str:
        """Says the clip and the noise."""
        return (
            f"clipped to {self._bound:g}, with noise of standard deviation "
            f"{self._stddev:g}"
        )

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Clips and noises the update and what other hooks added, as one."""
        sent = (message.update, message.extras)
        sent, _ = clip(sent, tf.constant(self._bound, tf.float32))
        if self._stddev:
            flat = tf.nest.flatten(sent)
            specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flat]
            # The block's key is of this client in this round.
            noise = standard_normal(self._key, client.block["key"], specs)
            noised = [a + self._stddev * b for a, b in zip(flat, noise)]
            sent = tf.nest.pack_sequence_as(sent, noised)
        return message._replace(update=sent[0], extras=sent[1]), state
