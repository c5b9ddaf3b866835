"""Federated averaging with a round whose mean overflows."""

import tensorflow as tf

from tff_pipeline import registry
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import ClientHook

ROUND = 3


class Overflow(ClientHook):
    """In one round, sends finite numbers whose sum over clients is not."""

    name = "overflow"

    def message(self, message, state, client):
        spoilt = tf.equal(client.block["round"], ROUND)
        update = tf.nest.map_structure(
            lambda leaf: tf.where(spoilt, 3e38, leaf), message.update
        )
        return message._replace(update=update), state


class Overflowing(FedAvg):
    """Federated averaging with that hook."""

    def own_hooks(self, context):
        return [Overflow()]


def register():
    """Makes `--algorithm=overflowing` known to this process."""
    registry.ALGORITHMS["overflowing"] = f"{__name__}:Overflowing"
