"""Data augmentation: clients change their inputs at random before training."""

from collections.abc import Mapping

import tensorflow as tf

from tff_pipeline.client_work.block import data_key
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.datasets.federation.augmentation import Change


class Augmented(ClientHook):
    """Changes inputs at random, anew in every round, by `--augment`."""

    name = "augment"

    def __init__(self, change: Change):
        """Makes the hook.

        Args:
          change: A pure function of inputs [n, ...] and a key, int64 [2], to
            inputs of the same shape and dtype.
        """
        self._change = change

    def prepare(
        self, block: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Changes the inputs of the block.

        Args:
          block: The client's data, as `client_block` makes them.

        Returns:
          The block with new `x`.
        """
        x = self._change(block["x"], data_key(block["key"]))
        return {**block, "x": tf.ensure_shape(x, block["x"].shape)}
