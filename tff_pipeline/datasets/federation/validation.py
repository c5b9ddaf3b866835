"""Holds examples or clients out of training, to choose on.

On the validation set the best round is chosen and training stopped, so that
what is measured on the test set has no part in either.
"""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.pooled import pooled

Array = npt.NDArray[Any]

_PURPOSE = "validation"


class PartOfData(FederatedData):
    """Some of the clients of others, with some of their examples."""

    def __init__(
        self,
        data: FederatedData,
        client_ids: Sequence[str],
        places: Optional[Callable[[str, int], Array]] = None,
    ):
        """Chooses clients and examples; nothing is read yet.

        Args:
          data: The clients.
          client_ids: The names of those that are chosen.
          places: Function from (client's name, count of its examples) to the
            places of those that are chosen, an int array; `None` for all.
        """
        self.client_ids = client_ids
        self._data = data
        self._places = places

    def size(self, client_id: str) -> int:
        """Returns the number of the chosen examples of a client."""
        count = self._data.size(client_id)
        if self._places is None:
            return count
        return len(self._places(client_id, count))

    def load(self, client_id: str) -> Examples:
        """Reads the chosen examples of a client."""
        examples = self._data.load(client_id)
        if self._places is None:
            return examples
        return examples.take(self._places(client_id, len(examples)))


def hold_out_of(
    train: FederatedData, options: DataConfig, seed: int
) -> tuple[FederatedData, Optional[Examples]]:
    """Holds a share of the training data out, as the options say.

    By examples, every client gives its own share, which depends on the seed,
    its name and its number of examples alone; a client keeps at least one. By
    clients, the clients are drawn with the seed, and give all they have.

    Args:
      train: The clients with all their training examples.
      options: `validation_fraction`, `validation_by` and, for the most that are
        held out, `max_test_examples`; examples beyond these do not train
        either.
      seed: The experiment's seed.

    Returns:
      (the clients that train, without what is held out; the examples that are
      held out, `None` without a share).

    Raises:
      ConfigError: If the share is less than one client.
      DataError: If the share is less than one example of every client.
    """
    fraction = options.validation_fraction
    if fraction is None:
        return train, None
    if options.validation_by == "clients":
        return _by_clients(train, options, fraction, seed)
    chosen = functools.partial(_held_out, fraction, seed)
    trains = PartOfData(
        train,
        train.client_ids,
        lambda name, count: np.flatnonzero(~chosen(name, count)),
    )
    held_out = PartOfData(
        train,
        train.client_ids,
        lambda name, count: np.flatnonzero(chosen(name, count)),
    )
    examples = _pooled(held_out, options, seed)
    if not len(examples):
        raise errors.DataError(
            f"--validation_fraction={fraction} holds out no example, for it is "
            "rounded to whole examples of each client, of which one stays to "
            "train on; raise it, or choose --validation_by=clients."
        )
    return trains, examples


def _pooled(
    held_out: FederatedData, options: DataConfig, seed: int
) -> Examples:
    return pooled(held_out, options.max_test_examples, seed, _PURPOSE)[0]


def _held_out(fraction: float, seed: int, name: str, count: int) -> Array:
    """Returns true for the examples of a client that are held out."""
    key = zlib.crc32(name.encode())
    return hold_out.client_mask(count, fraction, seed, key, _PURPOSE)


def _by_clients(
    train: FederatedData, options: DataConfig, fraction: float, seed: int
) -> tuple[FederatedData, Examples]:
    clients = len(train.client_ids)
    count = hold_out.size_of_share(clients, fraction)
    if not count:
        raise errors.ConfigError(
            f"--validation_fraction={fraction} of {clients} clients is none "
            "(it is rounded, and one client trains); raise it, or choose "
            "--validation_by=examples."
        )
    draw = randomness.generator(seed, "validation clients")
    is_out = np.zeros(clients, bool)
    is_out[draw.permutation(clients)[:count]] = True
    trains, held_out = (
        PartOfData(train, [train.client_ids[i] for i in np.flatnonzero(part)])
        for part in (~is_out, is_out)
    )
    return trains, _pooled(held_out, options, seed)


def refuse_share(options: DataConfig, there: int) -> None:
    """Refuses to hold out more where the data have a validation set.

    Args:
      options: The options of the data.
      there: The number of examples of that set.

    Raises:
      ConfigError: If `--validation_fraction` asks for a share.
    """
    if options.validation_fraction is not None:
        raise errors.ConfigError(
            f"--validation_fraction={options.validation_fraction} is not used "
            f"with data that have {there} validation examples of their own; "
            "leave it out."
        )
