"""Local differential privacy: each client clips and noises its own update.

The message of a client is private by itself, so clients need not trust the
server. The noise of all clients adds up in the sum.
"""

from typing import Any

import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.noise import standard_normal
from tff_pipeline.client_work.hooks import ClientHook, Finished, Message

Array = npt.NDArray[Any]


class LocalNoise(ClientHook):
    """Clips the update and extras of a client's message, and adds noise."""

    name = "local_noise"

    def __init__(self, bound: float, noise_multiplier: float, key: Array):
        """Makes the hook.

        Args:
          bound: The clip: the largest L2 norm of update and extras together.
          noise_multiplier: The standard deviation of a client's noise, as a
            multiple of `bound`; 0 for no noise.
          key: The key from which all clients' noise is drawn in a simulation,
            int64 [2].
        """
        self._bound = bound
        self._stddev = noise_multiplier * bound
        self._key = key

    def describe(self) -> str:
        """Describes the clip and the noise."""
        return (
            f"clipped to {self._bound:g}, with noise of standard deviation "
            f"{self._stddev:g}"
        )

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Clips and noises the update and all extras as one vector.

        Args:
          message: The message as the hooks before this one left it.
          state: The hook's state, which is `()`.
          client: The client after its last step.

        Returns:
          (the noised message, the state as it was).
        """
        sent = (message.update, message.extras)
        sent, _ = clip(sent, tf.constant(self._bound, tf.float32))
        if self._stddev:
            flat = tf.nest.flatten(sent)
            specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flat]
            # The block's key differs by client and by round.
            noise = standard_normal(self._key, client.block["key"], specs)
            noised = [a + self._stddev * b for a, b in zip(flat, noise)]
            sent = tf.nest.pack_sequence_as(sent, noised)
        return message._replace(update=sent[0], extras=sent[1]), state
