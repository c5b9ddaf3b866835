"""Clients that clip their updates and add noise of their own, then send.

Local differential privacy: what a client sends is private by itself, so that
nothing depends on trust in the server, which sums up the noise of all.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.private.clipping import clip
from tff_pipeline.aggregators.private.noise import standard_normal


class LocalNoise:
    """What leaves a client, a `release` of `client_work.build`."""

    def __init__(self, bound: float, noise_multiplier: float, key: np.ndarray):
        """Makes it.

        Args:
          bound: The clip, the largest L2 norm of an update.
          noise_multiplier: Standard deviation of a client's noise over that.
          key: int64 [2]; in a simulation all clients' noise comes of it.
        """
        self._bound = bound
        self._stddev = noise_multiplier * bound
        self._key = key

    def __call__(self, update: Any, block: Mapping[str, tf.Tensor]) -> Any:
        """The update, clipped and noised; `block` as `client_work.block`."""
        update, _ = clip(update, tf.constant(self._bound, tf.float32))
        if not self._stddev:
            return update
        flat = tf.nest.flatten(update)
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flat]
        # The block's key is of this client in this round.
        noise = standard_normal(self._key, block["key"], specs)
        noised = [a + self._stddev * b for a, b in zip(flat, noise)]
        return tf.nest.pack_sequence_as(update, noised)
