"""Which clients train, and on what they and others are tested."""

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
      test: The central test set, of clients that train where these are known.
      test_clients: Test examples of clients that train.
      unseen: Examples of clients that never train.
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
    owners: Optional[Array] = None,
    test_owners: Optional[Array] = None,
) -> Split:
    """Spreads examples over clients as `options` say.

    Args:
      train: Examples to train on.
      test: Examples to test on.
      options: The partition and its options.
      seed: The experiment's seed.
      owners: Of shape [len(train)], each example's client, where known.
      test_owners: Likewise of `test`.

    Returns:
      With artificial clients, these and the test set. With `natural` ones also
      what each is tested on: clients that train on their part of `test`;
      `options.unseen_clients` of them, held out, on all they have; clients
      that `test` alone knows on their part of it. Where that is all of `test`,
      it is the central test set; else the clients that train make that up.

    Raises:
      ConfigError: If these examples cannot be spread so.
    """
    most = options.max_test_examples
    if options.partition != "natural" or owners is None:
        spread = partition.partition(train, options, seed, owners)
        return Split(spread, _at_most(test, most, seed))
    held_out = drawn(owners, options.unseen_clients or 0, seed)
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
        # What the held-out clients would have trained on is theirs as well.
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
    owners: Optional[Array] = None,
) -> Split:
    """As `split`, of examples that lie together.

    Args:
      is_test: bool of shape [len(examples)], which are to test on.
      examples: All of them.
      options: The partition and its options.
      seed: The experiment's seed.
      owners: Of shape [len(examples)], each example's client, where known.
    """
    train, test = (
        examples.take(np.flatnonzero(chosen)) for chosen in (~is_test, is_test)
    )
    if owners is None:
        return split(train, test, options, seed)
    return split(train, test, options, seed, owners[~is_test], owners[is_test])


def _at_most(examples: Examples, most: Optional[int], seed: int) -> Examples:
    """At most so many of the examples, drawn at random, in their order."""
    if most is None or most >= len(examples):
        return examples
    draw = randomness.generator(seed, "test")
    return examples.take(np.sort(draw.permutation(len(examples))[:most]))


def drawn(owners: Array, count: int, seed: int) -> Array:
    """The names of `count` clients, drawn at random."""
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
    """The chosen examples by owner, or `None` if there are none."""
    indices = np.flatnonzero(chosen)
    if not indices.size:
        return None
    names, parts = partition.by_owner(owners[indices])
    return InMemoryData(
        examples, dict(zip(names, (indices[part] for part in parts)))
    )
