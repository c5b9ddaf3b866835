"""Blocks of clients, and the order in which their examples are drawn."""

import numpy as np
import tensorflow as tf

from tff_pipeline.client_work.block import (
    client_block,
    client_key,
    epoch_orders,
)
from tff_pipeline.datasets.federation.federated_data import Examples


def drawn_block(examples, seed=0, round_number=1, client=0, **more):
    """The block of a client in a round."""
    key = client_key(seed, round_number, client)
    return client_block(examples, key, round_number, **more)


def orders_of(block, epochs):
    """The orders, int32 [epochs, n], in which a block's examples are taken."""
    (element,) = block
    count = len(element["x"])
    key = tf.constant(element["key"])
    return epoch_orders(key, tf.constant(epochs), tf.constant(count)).numpy()


def in_file_order(examples, **key):
    """A block whose first epoch takes the examples in their own order."""
    block = drawn_block(examples, **key)
    places = np.argsort(orders_of(block, 1)[0])
    return drawn_block(Examples(examples.x[places], examples.y[places]), **key)
