"""Draws test examples of clients where the data do not name any."""

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness
from tff_pipeline.datasets.federation import partition

Array = npt.NDArray[Any]


def mask(
    count: int, owners: Optional[Array], fraction: float, seed: int
) -> Array:
    """Holds out a share of every client's examples.

    Example:
      >>> owners = np.repeat(["a", "b"], [10, 5])
      >>> held_out = mask(15, owners, 0.2, seed=0)
      >>> held_out[:10].sum(), held_out[10:].sum()
      (2, 1)

    Args:
      count: The number of examples.
      owners: The client of each example, of shape [count]; `None` if that is
        not known, which takes all examples for one client's.
      fraction: The share to hold out, see `client_mask`.
      seed: The experiment's seed.

    Returns:
      bool of shape [count], true for examples that are held out.
    """
    held_out = np.zeros(count, bool)
    parts = (
        [np.arange(count)] if owners is None else partition.by_owner(owners)[1]
    )
    for number, part in enumerate(parts):
        held_out[part] = client_mask(len(part), fraction, seed, number)
    return held_out


def size_of_share(total: int, fraction: float) -> int:
    """Returns how many examples a share of them is; at least one is left.

    Args:
      total: The number of examples, or of clients, at least 1.
      fraction: The share, at least 0 and below 1.

    >>> size_of_share(10, 0.25), size_of_share(1, 0.9)
    (2, 0)
    """
    return min(round(total * fraction), total - 1)


def client_mask(
    total: int,
    fraction: float,
    seed: int,
    key: int,
    purpose: str = "hold out",
) -> Array:
    """Holds out a share of one client's examples, drawn at random.

    Example:
      >>> client_mask(10, 0.25, seed=0, key=3).sum()
      2

    Args:
      total: The number of the client's examples, at least 1.
      fraction: The share to hold out, at least 0 and below 1. It is rounded to
        whole examples, and at least one is left to train on.
      seed: The experiment's seed.
      key: A number, at least 0, that no other client has.
      purpose: What they are held out for, which names the draw.

    Returns:
      bool of shape [total], true for examples that are held out.
    """
    draw = randomness.generator(seed, purpose, key)
    held_out = np.zeros(total, bool)
    held_out[draw.permutation(total)[: size_of_share(total, fraction)]] = True
    return held_out
