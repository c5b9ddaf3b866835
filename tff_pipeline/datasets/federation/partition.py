"""Partitions a dataset's examples among clients.

A partitioner takes (labels, owners, draw) and the options that `config` lists
for it:

* `labels`, of shape [n, ...], the examples' labels;
* `owners`, of shape [n], the client of each example, or `None` if the data do
  not name clients;
* `draw`, a NumPy generator, which alone decides what is drawn.

It returns the clients' names and, for each client, an int array of the indices
of its examples. Every example goes to exactly one client, and every client has
at least one. A partitioner raises `ConfigError` if its options do not suit the
examples.
"""

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness, registry
from tff_pipeline.config.data import PARTITION_OPTIONS, DataConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
    InMemoryData,
)

Array = npt.NDArray[Any]

Parts = tuple[list[str], list[Array]]

_DIRICHLET_TRIES = 100


def partition(
    examples: Examples,
    options: DataConfig,
    seed: int,
    owners: Optional[Array] = None,
) -> FederatedData:
    """Assigns examples to clients by the configured partition.

    Example:
      >>> examples = Examples(np.zeros([6, 2]), np.array([0, 0, 1, 1, 2, 2]))
      >>> options = DataConfig(partition="iid", num_clients=3)
      >>> clients = partition(examples, options, seed=0)
      >>> [clients.size(name) for name in clients.client_ids]
      [2, 2, 2]

    Args:
      examples: The examples; `y` of shape [n] holds class numbers, for
        partitions by label.
      options: The partition's name and options.
      seed: The experiment's seed.
      owners: The client of each example, of shape [n], for `natural`; `None`
        if the data do not name clients.

    Returns:
      The clients, with at most `options.max_examples_per_client` examples
      each, drawn at random.

    Raises:
      ConfigError: If the partition does not suit these examples.
    """
    assert options.partition is not None  # `DataConfig` settles it.
    partitioner = registry.load(options.partition, registry.PARTITIONS)
    arguments = {
        name: getattr(options, name)
        for name in PARTITION_OPTIONS[options.partition]
    }
    draw = randomness.generator(seed, "partition")
    names, parts = partitioner(examples.y, owners, draw, **arguments)
    if options.max_examples_per_client:
        parts = [
            draw.permutation(part)[: options.max_examples_per_client]
            for part in parts
        ]
    return InMemoryData(examples, dict(zip(names, parts)))


def _numbered(parts: list[Array]) -> Parts:
    """Names clients by their numbers, such as "client_042"."""
    width = len(str(len(parts) - 1))
    return [f"client_{i:0{width}d}" for i in range(len(parts))], parts


def _check_enough(available: int, needed: int, what: str) -> None:
    if needed > available:
        raise errors.ConfigError(
            f"{what} need at least {needed} examples, but there are "
            f"{available}; lower it."
        )


def _check_classes(labels: Array, name: str) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise errors.ConfigError(
            f"--partition={name} is for examples of one class each, and this "
            "task's have none; choose iid or quantity."
        )


def iid(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    num_clients: int,
) -> Parts:
    """Shuffles examples and cuts them into parts of equal sizes.

    McMahan et al. 2017, section 3: 60,000 examples among 100 clients are 600
    each. Sizes differ by at most one.

    Args:
      labels: Labels of shape [n, ...]; only their number counts.
      owners: Not used.
      draw: Draws the order.
      num_clients: The number of clients.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If there are fewer examples than clients.
    """
    del owners
    _check_enough(
        len(labels), num_clients, f"--num_clients={num_clients} clients"
    )
    return _numbered(np.array_split(draw.permutation(len(labels)), num_clients))


def shards(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    num_clients: int,
    shards_per_client: int,
) -> Parts:
    """Sorts examples by label and deals shards of them to the clients.

    McMahan et al. 2017, section 3: 60,000 examples among 100 clients of 2
    shards are 200 shards of 300, so that most clients see two digits.

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
    _check_enough(
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
    return _numbered(
        [np.concatenate([pieces[i] for i in hand]) for hand in dealt]
    )


def dirichlet(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    num_clients: int,
    dirichlet_alpha: float,
) -> Parts:
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
    _check_enough(
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
            return _numbered(parts)
    raise errors.ConfigError(
        f"--dirichlet_alpha={dirichlet_alpha} left some of "
        f"--num_clients={num_clients} "
        f"without examples in each of {_DIRICHLET_TRIES} draws; raise the "
        "first or lower the second."
    )


def quantity(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    num_clients: int,
    quantity_exponent: float,
) -> Parts:
    """Shuffles examples and cuts parts whose sizes follow a power law.

    Every client gets one example; the k-th client gets a share of the rest in
    proportion to k**-exponent, rounded. 1,000 examples among 4 clients with
    exponent 1 are 479, 240, 160 and 121; with exponent 0, 250 each.

    Args:
      labels: Labels of shape [n, ...]; only their number counts.
      owners: Not used.
      draw: Draws the order.
      num_clients: The number of clients.
      quantity_exponent: The exponent, at least 0.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If there are fewer examples than clients.
    """
    del owners
    _check_enough(
        len(labels), num_clients, f"--num_clients={num_clients} clients"
    )
    # Never above 1, so that no exponent overflows.
    shares = np.arange(1.0, num_clients + 1) ** -quantity_exponent
    bounds = np.cumsum(shares) / shares.sum() * (len(labels) - num_clients)
    cuts = np.round(bounds[:-1]).astype(int) + np.arange(1, num_clients)
    return _numbered(np.split(draw.permutation(len(labels)), cuts))


def label_k(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    num_clients: int,
    labels_per_client: int,
) -> Parts:
    """Gives every client k labels, and an equal part of each label's examples.

    Li et al. 2022, section IV-B, "quantity-based label imbalance". Labels are
    drawn so that the numbers of clients that hold them differ by at most one.
    With 60,000 examples of ten digits, 10 clients and k = 2, each digit is
    halved between two clients.

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
        _check_enough(
            len(members),
            len(clients),
            f"--num_clients={num_clients} clients of --labels_per_client="
            f"{labels_per_client}, {len(clients)} of which have the label "
            f"{name},",
        )
        pieces = np.array_split(members, len(clients))
        for client, piece in zip(draw.permutation(clients), pieces):
            hands[client].append(piece)
    return _numbered([np.concatenate(hand) for hand in hands])


def natural(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
) -> Parts:
    """Gives every example to the client that the data name.

    Args:
      labels: Not used.
      owners: The client of each example, of shape [n].
      draw: Not used.

    Returns:
      The clients' names and examples.

    Raises:
      ConfigError: If the data do not name clients.
    """
    del labels, draw
    if owners is None:
        raise errors.ConfigError(
            "--partition=natural is for data that name their clients, and "
            "this task's do not; choose iid, shards or dirichlet."
        )
    return by_owner(owners)


def by_owner(owners: Array) -> Parts:
    """Groups examples by owner.

    Example:
      >>> names, parts = by_owner(np.array(["b", "a", "b"]))
      >>> names, [part.tolist() for part in parts]
      (['a', 'b'], [[1], [0, 2]])

    Args:
      owners: The client of each example, of shape [n].

    Returns:
      The clients' names, sorted, and for each the indices of its examples,
      ascending.
    """
    names, first = np.unique(owners, return_inverse=True)
    order = np.argsort(first, kind="stable")
    cuts = np.cumsum(np.bincount(first))[:-1]
    return [str(name) for name in names], np.split(order, cuts)
