"""The data of one client in one round: a block of arrays and a key.

Everything random in a client's round, such as the order of its examples,
augmentation, dropout and noise, is drawn from the key, in the graph that trains
on the block, on the machine that holds the data. The server need not know how
many examples a client has.
"""

import collections
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline import randomness
from tff_pipeline.datasets.federation.federated_data import Examples

# Dropout draws from (client's key, step), and steps begin at 0.
_ORDER, _DATA, _CODE = -1, -2, -3

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
      round_number: The number of the round, 1 or above.
      client: The client's position in the population.

    Returns:
      A number from 0 to 2**62 - 1.

    >>> client_key(seed=0, round_number=1, client=2)
    3793936435408441275
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
    mark: Optional[int] = None,
) -> list[collections.OrderedDict[str, Any]]:
    """Makes the data of a client for one round.

    Args:
      examples: The examples of the client, at least one.
      key: The key of this client in this round, as `client_key` draws it; the
        keys of canaries are negative.
      round_number: The number of the round.
      rate: A factor on the learning rate of the client's optimizer.
      steps: The number of steps that the client takes; 0 for the number that
        the client's options set for all.
      noise_multiplier: The noise multiplier of the client's gradients; needed
        by `ExampleDp` alone.
      mark: 1 if the client attacks, else 0; needed by attacks alone.

    Returns:
      A list of one block, since clients' data in TFF are sequences. The block
      has `x` and `y` [n, ...], the scalars of `BLOCK_SPEC` and, unless they are
      `None`, `noise_multiplier`, a float32 scalar, and `mark`, an int32 scalar.
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
    if mark is not None:
        block["mark"] = np.int32(mark)
    return [block]


def epoch_orders(
    key: tf.Tensor, epochs: tf.Tensor, examples: tf.Tensor
) -> tf.Tensor:
    """Draws the order of a client's examples in every epoch.

    All orders are equally likely: examples are sorted by 64 random bits each.
    Two of n examples draw the same bits with a probability below
    n**2 / 2**65.

    Args:
      key: The client's key of the round, an int64 scalar.
      epochs: The number of epochs, an int32 scalar.
      examples: The number of examples, an int32 scalar.

    Returns:
      Positions of examples, int32 [epochs, examples]; each row is a
      permutation.
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
    """Derives the key from which changes of a client's data are drawn.

    Args:
      key: The client's key of the round, an int64 scalar.

    Returns:
      A key for stateless random operations, int64 [2].
    """
    return tf.stack([key, tf.constant(_DATA, tf.int64)])


def code_key(key: tf.Tensor) -> tf.Tensor:
    """Derives the key from which the code of a client's message is drawn.

    Args:
      key: The client's key of the round, an int64 scalar.

    Returns:
      A key for stateless random operations, int64 [2].
    """
    return tf.stack([key, tf.constant(_CODE, tf.int64)])
