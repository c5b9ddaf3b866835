"""The data of one client in one round: a block of arrays and a key.

Whatever is drawn for a client in a round, such as the order of its examples,
augmentation, dropout and noise, is drawn from the key in the graph that trains
on the block, on the machine that holds the data. The server needs to know no
client's size.
"""

import collections
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline import randomness
from tff_pipeline.datasets.federation.federated_data import Examples

# Keys of dropout are (client's key, step), and steps begin at 0.
_ORDER, _DATA = -1, -2

BLOCK_SPEC = collections.OrderedDict(
    key=tf.TensorSpec([], tf.int64),
    round=tf.TensorSpec([], tf.int32),
    rate=tf.TensorSpec([], tf.float32),
    steps=tf.TensorSpec([], tf.int32),
)


def client_key(seed: int, round_number: int, client: int) -> int:
    """Draws the key of a client in a round.

    Args:
      seed: The experiment's seed.
      round_number: Which round, 1 or above.
      client: The client's position in the population.

    Returns:
      A number from 0 to 2**62 - 1.
    """
    draw = randomness.generator(seed, "client", round_number, client)
    return int(draw.integers(2**62))


def client_block(
    examples: Examples,
    key: int,
    round_number: int = 0,
    rate: float = 1.0,
    steps: int = 0,
    noise_multiplier: Optional[float] = None,
) -> list[collections.OrderedDict[str, Any]]:
    """Makes a client's data of one round.

    Args:
      examples: The client's; at least one.
      key: Of this client in this round; see `client_key`. Canaries have
        negative keys.
      round_number: Which round.
      rate: A factor on the learning rate of the client's optimizer.
      steps: How many steps the client takes, or 0 for as many as all do.
      noise_multiplier: What `ExampleDp` needs of the client, if it is used.

    Returns:
      A list of one element, as TFF wants sequences on clients: `x`, `y`
      [n, ...], the scalars of `BLOCK_SPEC` and, if given, `noise_multiplier`, a
      float32 scalar.
    """
    block = collections.OrderedDict(
        x=examples.x,
        y=examples.y,
        key=np.int64(key),
        round=np.int32(round_number),
        rate=np.float32(rate),
        steps=np.int32(steps),
    )
    if noise_multiplier is not None:
        block["noise_multiplier"] = np.float32(noise_multiplier)
    return [block]


def epoch_orders(
    key: tf.Tensor, epochs: tf.Tensor, examples: tf.Tensor
) -> tf.Tensor:
    """Draws the order of a client's examples in every epoch.

    All orders are equally likely: places are sorted by 64 random bits each,
    which are equal for two of n places with a probability below n**2 / 2**65.

    Args:
      key: Of the client in this round, an int64 scalar.
      epochs: How many orders to draw, an int32 scalar.
      examples: How many places there are, an int32 scalar.

    Returns:
      int32 [epochs, examples]; each row has every place once.
    """
    bits = tf.random.stateless_uniform(
        tf.stack([epochs, examples]),
        tf.stack([key, tf.constant(_ORDER, tf.int64)]),
        minval=None,
        maxval=None,
        dtype=tf.int64,
    )
    return tf.argsort(bits, axis=-1)


def data_key(key: tf.Tensor) -> tf.Tensor:
    """The key, int64 [2], of what is drawn to change a client's data.

    Args:
      key: Of the client in this round, an int64 scalar.
    """
    return tf.stack([key, tf.constant(_DATA, tf.int64)])
