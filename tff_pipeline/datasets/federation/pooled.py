"""Collects the examples of clients in one set, such as the central test set."""

from collections.abc import Collection
from typing import Optional

import numpy as np

from tff_pipeline import randomness
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)


def pooled(
    clients: FederatedData,
    most: Optional[int],
    seed: int,
    purpose: str = "test",
) -> tuple[Examples, list[str]]:
    """Collects the examples of all clients, or of clients drawn at random.

    Args:
      clients: At least one client.
      most: Largest number of examples. Clients are read in random order until
        there are as many; the others are never read. `None` takes all.
      seed: The experiment's seed.
      purpose: What the set is for, which names the draw.

    Returns:
      (examples, the names of the clients that they came from).
    """
    order: Collection[int] = range(len(clients))
    if most is not None:
        order = randomness.generator(seed, purpose).permutation(len(clients))
    names: list[str] = []
    parts: list[Examples] = []
    missing = most
    for position in order:
        if missing is not None and missing <= 0:
            break
        name = clients.client_ids[position]
        part = clients.load(name)
        if missing is not None:
            part = Examples(part.x[:missing], part.y[:missing])
            missing -= len(part)
        names.append(name)
        parts.append(part)
    examples = Examples(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
    )
    return examples, names
