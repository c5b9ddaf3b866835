"""Holds out test examples of each client, where the data name none."""

import functools
import zlib
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.datasets.federation.validation import PartOfData


def hold_out_of_each(
    train: FederatedData, fraction: float, seed: int
) -> tuple[FederatedData, Optional[FederatedData]]:
    """Holds a share of every client's examples out, to test its model on.

    The share depends on the seed, the client's name and its number of examples
    alone; it is rounded to whole examples, and a client keeps at least one.

    Args:
      train: The clients with all their examples.
      fraction: The share, at least 0 and below 1.
      seed: The experiment's seed.

    Returns:
      (the clients without what is held out; those of whom something is, with
      it, `None` if there are none).
    """
    chosen = functools.partial(_mask, fraction, seed)
    tested = [
        name
        for name in train.client_ids
        if hold_out.size_of_share(train.size(name), fraction)
    ]
    trains = PartOfData(
        train,
        train.client_ids,
        lambda name, count: np.flatnonzero(~chosen(name, count)),
    )
    if not tested:
        return trains, None
    return trains, PartOfData(
        train,
        tested,
        lambda name, count: np.flatnonzero(chosen(name, count)),
    )


def _mask(
    fraction: float, seed: int, name: str, count: int
) -> npt.NDArray[Any]:
    """Returns true for the examples of a client that are held out."""
    key = zlib.crc32(name.encode())
    return hold_out.client_mask(count, fraction, seed, key, "client test")
