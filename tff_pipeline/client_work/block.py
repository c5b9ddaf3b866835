"""Makes the data of one client in one round: a block of arrays."""

import collections
from typing import Optional

import numpy as np

from tff_pipeline import randomness
from tff_pipeline.datasets.federation.federated_data import Examples


def client_block(
    examples: Examples,
    epochs: int,
    seed: int,
    *counters: int,
    key: Optional[int] = None,
    noise_multiplier: Optional[float] = None,
) -> list[collections.OrderedDict]:
    """A client's data of one round.

    Args:
      examples: The client's; at least one.
      epochs: How often the client goes over them, at most.
      seed: The experiment's seed.
      *counters: Which round, which client; with the seed they decide the order
        of examples in every epoch, and dropout.
      key: Of the client in this round, if not one that they decide.
      noise_multiplier: What `ExampleDp` wants of the client.

    Returns:
      A list of one element, as TFF wants sequences on clients: `x`, `y`
      [n, ...], `order` int32 [epochs, n], `key`, an int64 scalar, and if given
      `noise_multiplier`, a float32 scalar.
    """
    order = np.stack(
        [
            randomness.generator(seed, "shuffle", *counters, epoch).permutation(
                len(examples)
            )
            for epoch in range(epochs)
        ]
    )
    if key is None:
        draw = randomness.generator(seed, "client", *counters)
        key = int(draw.integers(2**62))
    made = collections.OrderedDict(
        x=examples.x,
        y=examples.y,
        order=order.astype(np.int32),
        key=np.int64(key),
    )
    if noise_multiplier is not None:
        made["noise_multiplier"] = np.float32(noise_multiplier)
    return [made]
