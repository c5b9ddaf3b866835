"""Partitions of examples by their labels, see `partition`."""

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation import partition

Array = npt.NDArray[Any]

_DIRICHLET_TRIES = 100


def shards(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    *,
    num_clients: int,
    shards_per_client: int,
) -> partition.Parts:
    """Sorts examples by label and deals shards of them to the clients.

    McMahan et al. 2017, section 3: 60,000 examples among 100 clients of 2
    shards are 200 shards of 300, so that most clients see two digits.

    Example:
      >>> labels = np.repeat([0, 1, 2, 3], 5)
      >>> draw = np.random.default_rng(0)
      >>> _, parts = shards(
      ...     labels, None, draw, num_clients=2, shards_per_client=2
      ... )
      >>> [np.unique(labels[part]).size for part in parts]
      [2, 2]

    Args:
      labels: Class numbers of shape [n].
      owners: Not used.
      draw: Draws which shards a client gets.
      num_clients: The number of clients.
      shards_per_client: The number of shards of each client.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If labels are not classes, or there are fewer examples than
        shards.
    """
    del owners
    _check_classes(labels, "shards")
    partition.check_enough(
        len(labels),
        num_clients * shards_per_client,
        f"--num_clients={num_clients} clients of "
        f"--shards_per_client={shards_per_client}",
    )
    by_label = np.argsort(labels, kind="stable")
    pieces = np.array_split(by_label, num_clients * shards_per_client)
    dealt = draw.permutation(len(pieces)).reshape(
        num_clients, shards_per_client
    )
    return partition.numbered(
        [np.concatenate([pieces[i] for i in hand]) for hand in dealt]
    )


def dirichlet(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    *,
    num_clients: int,
    dirichlet_alpha: float,
) -> partition.Parts:
    """Divides each class among the clients in Dirichlet(alpha) proportions.

    Li et al. 2022, "Federated Learning on Non-IID Data Silos", section IV-B.
    With a small alpha clients have few classes and very different sizes; with
    a large alpha they are as in `iid`. Proportions are drawn again until no
    client is empty.

    Args:
      labels: Class numbers of shape [n].
      owners: Not used.
      draw: Draws the proportions, and which examples a client gets.
      num_clients: The number of clients.
      dirichlet_alpha: The concentration alpha.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If labels are not classes, there are fewer examples than
        clients, or 100 draws leave a client empty.
    """
    del owners
    _check_classes(labels, "dirichlet")
    partition.check_enough(
        len(labels), num_clients, f"--num_clients={num_clients} clients"
    )
    for _ in range(_DIRICHLET_TRIES):
        hands: list[list[Array]] = [[] for _ in range(num_clients)]
        for label in np.unique(labels):
            members = draw.permutation(np.flatnonzero(labels == label))
            proportions = draw.dirichlet(np.full(num_clients, dirichlet_alpha))
            # Rounding the cuts, not the sizes, loses no example.
            cuts = np.round(np.cumsum(proportions)[:-1] * len(members))
            for hand, part in zip(hands, np.split(members, cuts.astype(int))):
                hand.append(part)
        parts = [np.concatenate(hand) for hand in hands]
        if all(len(part) for part in parts):
            return partition.numbered(parts)
    raise errors.ConfigError(
        f"--dirichlet_alpha={dirichlet_alpha} left some of "
        f"--num_clients={num_clients} "
        f"without examples in each of {_DIRICHLET_TRIES} draws; raise the "
        "first or lower the second."
    )


def label_k(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    *,
    num_clients: int,
    labels_per_client: int,
) -> partition.Parts:
    """Gives every client k labels, and an equal part of each label's examples.

    Li et al. 2022, section IV-B, "quantity-based label imbalance". Labels are
    drawn so that the numbers of clients that hold them differ by at most one.
    With 60,000 examples of ten digits, 10 clients and k = 2, each digit is
    halved between two clients.

    Example:
      >>> labels = np.repeat([0, 1, 2], 4)
      >>> draw = np.random.default_rng(0)
      >>> _, parts = label_k(
      ...     labels, None, draw, num_clients=3, labels_per_client=2
      ... )
      >>> [np.bincount(labels[part], minlength=3).tolist() for part in parts]
      [[0, 2, 2], [2, 2, 0], [2, 0, 2]]

    Args:
      labels: Class numbers of shape [n].
      owners: Not used.
      draw: Draws the labels of a client and the examples of a part.
      num_clients: The number of clients.
      labels_per_client: The number k of labels of each client.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If labels are not classes, there are fewer than k of them,
        the clients cannot hold them all, or a label has fewer examples than
        clients that hold it.
    """
    del owners
    _check_classes(labels, "label_k")
    names = np.unique(labels)
    if labels_per_client > len(names):
        raise errors.ConfigError(
            f"--labels_per_client={labels_per_client} is more than the "
            f"{len(names)} labels there are; lower it."
        )
    if num_clients * labels_per_client < len(names):
        raise errors.ConfigError(
            f"--num_clients={num_clients} clients of --labels_per_client="
            f"{labels_per_client} have no room for all {len(names)} labels; "
            "raise one of them."
        )
    holders: list[list[int]] = [[] for _ in names]
    for client in range(num_clients):
        # Labels that the fewest clients hold come first, and chance decides
        # among equals, so that these numbers never differ by more than one.
        held = np.array([len(clients) for clients in holders])
        fewest = np.lexsort((draw.random(len(names)), held))
        for label in fewest[:labels_per_client]:
            holders[label].append(client)
    hands: list[list[Array]] = [[] for _ in range(num_clients)]
    for name, clients in zip(names, holders):
        members = draw.permutation(np.flatnonzero(labels == name))
        partition.check_enough(
            len(members),
            len(clients),
            f"--num_clients={num_clients} clients of --labels_per_client="
            f"{labels_per_client}, {len(clients)} of which have the label "
            f"{name},",
        )
        pieces = np.array_split(members, len(clients))
        for client, piece in zip(draw.permutation(clients), pieces):
            hands[client].append(piece)
    return partition.numbered([np.concatenate(hand) for hand in hands])


def _check_classes(labels: Array, name: str) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise errors.ConfigError(
            f"--partition={name} is for examples of one class each, and this "
            "task's have none; choose iid or quantity."
        )
