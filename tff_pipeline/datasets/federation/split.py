"""Divides data into training, validation, test and unseen clients' examples."""

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
from tff_pipeline.datasets.federation.validation import (
    PartOfData,
    hold_out_of,
    refuse_share,
)

Array = npt.NDArray[Any]

# The partitions that keep the clients that the data name.
_OF_CLIENTS = ("natural", "pooled")


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
      validation: Examples to choose on, which neither train nor are tested on;
        `None` if there are none.
    """

    train: FederatedData
    test: Examples
    test_clients: Optional[FederatedData] = None
    unseen: Optional[FederatedData] = None
    validation: Optional[Examples] = None


def split(
    train: Examples,
    test: Examples,
    options: DataConfig,
    seed: int,
    *,
    owners: Optional[Array] = None,
    test_owners: Optional[Array] = None,
    validation: Optional[Examples] = None,
    validation_owners: Optional[Array] = None,
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
      validation: Examples to choose on, where the data name any.
      validation_owners: The client of each of these; `None` if the data do not
        name clients.

    Returns:
      With an artificial partition, the clients and the central test set. With
      `natural` clients, and where these are `pooled`, also:

      * `test_clients`, the part of `test` of each client that trains;
      * `unseen`, all examples of `options.unseen_clients` clients, drawn at
        random and held out, and of clients that only `test` has.

      The central test set is then the examples of `test_clients`, or all of
      `test` if there are none.

      The validation set is `validation`, but for clients of `unseen`; or what
      `options.validation_fraction` takes of the clients that train.

    Raises:
      ConfigError: If the partition does not suit these examples, or there are
        both a validation set and a share to be held out for one.
      DataError: If no example is left to choose on.
    """
    divided = _divided(train, test, options, seed, owners, test_owners)
    if validation is None:
        return with_validation(divided, options, seed)
    if validation_owners is not None and divided.unseen is not None:
        known = ~np.isin(validation_owners, list(divided.unseen.client_ids))
        validation = validation.take(np.flatnonzero(known))
    return with_validation(divided, options, seed, validation)


def with_validation(
    divided: Split,
    options: DataConfig,
    seed: int,
    own: Optional[Examples] = None,
) -> Split:
    """Adds a validation set to divided data.

    Args:
      divided: The data, without a validation set.
      options: The share to hold out, and the most examples.
      seed: The experiment's seed.
      own: The validation set, where the data have one of their own.

    Returns:
      The data with the set, if there is one. `train` is then without what is
      held out, and `test_clients` without clients that are; the central test
      set stays as it is.

    Raises:
      ConfigError: If there are both a set and a share, or the share is no
        client.
      DataError: If the set or the share is no example.
    """
    if own is not None:
        refuse_share(options, len(own))
        if not len(own):
            raise errors.DataError(
                "All validation examples of the data are of clients that never "
                "train; give some of clients that do, or take them out."
            )
        own = _at_most(own, options.max_test_examples, seed)
        return dataclasses.replace(divided, validation=own)
    train, held_out = hold_out_of(divided.train, options, seed)
    tested = divided.test_clients
    if tested is not None and len(train) < len(divided.train):
        remaining = set(train.client_ids)
        names = [name for name in tested.client_ids if name in remaining]
        tested = PartOfData(tested, names) if names else None
    return dataclasses.replace(
        divided, train=train, test_clients=tested, validation=held_out
    )


def _divided(
    train: Examples,
    test: Examples,
    options: DataConfig,
    seed: int,
    owners: Optional[Array],
    test_owners: Optional[Array],
) -> Split:
    """Divides data as `split` does, but for validation."""
    most = options.max_test_examples
    if options.partition not in _OF_CLIENTS or owners is None:
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
    is_validation: Optional[Array] = None,
) -> Split:
    """Assigns examples to clients, some of them to test on; see `split`.

    Args:
      is_test: bool of shape [n], true for examples to test on.
      examples: All n examples.
      options: The partition and its options.
      seed: The experiment's seed.
      owners: The client of each example, of shape [n]; `None` if the data do
        not name clients.
      is_validation: bool of shape [n], true for examples to choose on, none of
        them one to test on; `None` if the data do not name any.

    Returns:
      The clients, the test sets and the validation set.

    Raises:
      ConfigError: As `split`.
      DataError: As `split`.
    """
    if is_validation is None:
        chosen = [~is_test, is_test]
    else:
        chosen = [~(is_test | is_validation), is_test, is_validation]
    train, test, *validation = (
        examples.take(np.flatnonzero(part)) for part in chosen
    )
    names = [None if owners is None else owners[part] for part in chosen]
    return split(
        train,
        test,
        options,
        seed,
        owners=names[0],
        test_owners=names[1],
        validation=validation[0] if validation else None,
        validation_owners=names[2] if validation else None,
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
