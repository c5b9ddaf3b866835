"""Divides data into training, test and unseen clients' examples."""

import dataclasses
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import partition
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
    InMemoryData,
)

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Split:
    """The data of a task; `Task` has the same fields.

    Attributes:
      train: The clients that train.
      test: The central test set. Where the data name their clients, it is made
        up of examples of clients that train.
      test_clients: Test examples by client, for clients that train; `None` if
        there are none.
      unseen: Examples of clients that never train; `None` if there are none.
    """

    train: FederatedData
    test: Examples
    test_clients: Optional[FederatedData] = None
    unseen: Optional[FederatedData] = None


def split(
    train: Examples,
    test: Examples,
    options: DataConfig,
    seed: int,
    *,
    owners: Optional[Array] = None,
    test_owners: Optional[Array] = None,
) -> Split:
    """Assigns examples to clients, for training and for testing.

    Args:
      train: Examples to train on.
      test: Examples to test on.
      options: The partition and its options.
      seed: The experiment's seed.
      owners: The client of each example of `train`, of shape [len(train)];
        `None` if the data do not name clients.
      test_owners: The client of each example of `test`, of shape [len(test)];
        `None` if the data do not name clients.

    Returns:
      With an artificial partition, the clients and the central test set. With
      `natural` clients also:

      * `test_clients`, the part of `test` of each client that trains;
      * `unseen`, all examples of `options.unseen_clients` clients, drawn at
        random and held out, and of clients that only `test` has.

      The central test set is then the examples of `test_clients`, or all of
      `test` if there are none.

    Raises:
      ConfigError: If the partition does not suit these examples.
    """
    most = options.max_test_examples
    if options.partition != "natural" or owners is None:
        spread = partition.partition(train, options, seed, owners)
        return Split(spread, _at_most(test, most, seed))
    held_out = draw_clients(owners, options.unseen_clients or 0, seed)
    trains = ~np.isin(owners, held_out)
    spread = partition.partition(
        train.take(np.flatnonzero(trains)) if held_out.size else train,
        options,
        seed,
        owners[trains],
    )
    if test_owners is None:
        unseen = _clients(train, owners, ~trains)
        return Split(spread, _at_most(test, most, seed), None, unseen)
    seen = np.isin(test_owners, owners[trains])
    if held_out.size:
        # Held-out clients are tested on their training examples as well.
        everything = Examples(
            np.concatenate([train.x, test.x]), np.concatenate([train.y, test.y])
        )
        everyone = np.concatenate([owners, test_owners])
        unseen = _clients(everything, everyone, np.append(~trains, ~seen))
    else:
        unseen = _clients(test, test_owners, ~seen)
    central = test.take(np.flatnonzero(seen)) if seen.any() else test
    return Split(
        spread,
        _at_most(central, most, seed),
        _clients(test, test_owners, seen),
        unseen,
    )


def split_where(
    is_test: Array,
    examples: Examples,
    options: DataConfig,
    seed: int,
    *,
    owners: Optional[Array] = None,
) -> Split:
    """Assigns examples to clients, some of them to test on; see `split`.

    Args:
      is_test: bool of shape [n], true for examples to test on.
      examples: All n examples.
      options: The partition and its options.
      seed: The experiment's seed.
      owners: The client of each example, of shape [n]; `None` if the data do
        not name clients.

    Returns:
      The clients and test sets.

    Raises:
      ConfigError: If the partition does not suit these examples.
    """
    train, test = (
        examples.take(np.flatnonzero(chosen)) for chosen in (~is_test, is_test)
    )
    if owners is None:
        return split(train, test, options, seed)
    return split(
        train,
        test,
        options,
        seed,
        owners=owners[~is_test],
        test_owners=owners[is_test],
    )


def _at_most(examples: Examples, most: Optional[int], seed: int) -> Examples:
    """Draws at most `most` of the examples, and keeps their order."""
    if most is None or most >= len(examples):
        return examples
    draw = randomness.generator(seed, "test")
    return examples.take(np.sort(draw.permutation(len(examples))[:most]))


def draw_clients(owners: Array, count: int, seed: int) -> Array:
    """Draws clients that never train.

    Example:
      >>> len(draw_clients(np.array(["a", "b", "b", "c"]), 2, seed=0))
      2

    Args:
      owners: The client of each example, of shape [n].
      count: The number of clients to draw.
      seed: The experiment's seed.

    Returns:
      Their names, of shape [count].

    Raises:
      ConfigError: If no client would be left to train.
    """
    names = np.unique(owners)
    if count >= len(names):
        raise errors.ConfigError(
            f"--unseen_clients={count} leaves none of the {len(names)} clients "
            "to train; lower it."
        )
    return randomness.generator(seed, "unseen").permutation(names)[:count]


def _clients(
    examples: Examples, owners: Array, chosen: Array
) -> Optional[FederatedData]:
    """Groups the chosen examples by owner; `None` if none is chosen."""
    indices = np.flatnonzero(chosen)
    if not indices.size:
        return None
    names, parts = partition.by_owner(owners[indices])
    return InMemoryData(
        examples, dict(zip(names, (indices[part] for part in parts)))
    )
