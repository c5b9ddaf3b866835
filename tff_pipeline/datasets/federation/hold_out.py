"""Test examples of clients whose data do not say which these are."""

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness
from tff_pipeline.datasets.federation import partition

Array = npt.NDArray[Any]


def drawn(
    count: int, owners: Optional[Array], fraction: float, seed: int
) -> Array:
    """Draws a share of every client's examples.

    Args:
      count: How many examples there are.
      owners: Of shape [count], each example's client, where known; else the
        share is of all examples.
      fraction: See `of_client`.
      seed: The experiment's seed.

    Returns:
      bool of shape [count], where an example is held out.
    """
    held_out = np.zeros(count, bool)
    parts = (
        [np.arange(count)] if owners is None else partition.by_owner(owners)[1]
    )
    for number, part in enumerate(parts):
        held_out[part] = of_client(len(part), fraction, seed, number)
    return held_out


def of_client(count: int, fraction: float, seed: int, key: int) -> Array:
    """Draws a share of a client's examples.

    Args:
      count: How many it has, at least 1.
      fraction: The share, at least 0 and below 1; rounded to whole examples,
        but one is left to train on.
      seed: The experiment's seed.
      key: A number of the client's own, at least 0.

    Returns:
      bool of shape [count], where an example is held out.
    """
    draw = randomness.generator(seed, "hold out", key)
    most = min(round(count * fraction), count - 1)
    held_out = np.zeros(count, bool)
    held_out[draw.permutation(count)[:most]] = True
    return held_out
