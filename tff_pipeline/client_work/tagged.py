"""Tags: what an aggregator on rows is told of a client beside its message."""

import collections
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators.collect import TAG_TYPE
from tff_pipeline.client_work.hooks import ClientHook, Finished, Message


class TaggedClients(ClientHook):
    """Sends a tag in place of a weight, for aggregators that take rows.

    The tag has the weight, the block's `key` and `round`, and the client's
    `mark`: the block's, if a hook put one there (`block_spec`), or 0. It is the
    last hook, so that a client that was rejected has weight 0 in it: its
    message is zeros, and it does not count among those that came.
    """

    name = "tag"

    def describe(self) -> str:
        """Describes what goes with the message."""
        return "with a number of the client's own in this round"

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the weight by the tag.

        Args:
          message: The message as the hooks before this one left it.
          state: The hook's state, which is `()`.
          client: The client after its last step.

        Returns:
          (the message with a tag of `aggregators.collect.TAG_TYPE` as weight,
          the state as it was).
        """
        tag = collections.OrderedDict(
            weight=message.weight,
            key=client.block["key"],
            mark=client.block.get("mark", tf.constant(0)),
            round=client.block["round"],
        )
        return message._replace(weight=tag), state


def is_tag(weight_type: tff.Type) -> bool:
    """Returns whether clients send tags in the place of weights.

    Args:
      weight_type: The type of what they send there.
    """
    return bool(weight_type.is_equivalent_to(TAG_TYPE))


@tff.tensorflow.computation(TAG_TYPE)
def weight_of(tag: Any) -> Any:
    """Returns the weight in a tag, a float32 scalar.

    Args:
      tag: The tag.
    """
    return tf.cast(tag["weight"], np.float32)
