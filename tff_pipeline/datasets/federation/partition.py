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

# The name of the client that has the examples of all.
POOLED = "everyone"


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
    if options.partition == "pooled":
        names, parts = [POOLED], [np.sort(np.concatenate(parts))]
    return InMemoryData(examples, dict(zip(names, parts)))


def numbered(parts: list[Array]) -> Parts:
    """Names clients by their numbers, such as "client_042".

    Args:
      parts: For each client the indices of its examples.

    Returns:
      The clients' names and `parts`.
    """
    width = len(str(len(parts) - 1))
    return [f"client_{i:0{width}d}" for i in range(len(parts))], parts


def check_enough(available: int, needed: int, what: str) -> None:
    """Checks that clients can have at least one example each.

    Args:
      available: The number of examples.
      needed: The least number of examples.
      what: The flags that need them, the subject of the error's sentence.

    Raises:
      ConfigError: If there are too few.
    """
    if needed > available:
        raise errors.ConfigError(
            f"{what} need at least {needed} examples, but there are "
            f"{available}; lower it."
        )


def iid(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    *,
    num_clients: int,
) -> Parts:
    """Shuffles examples and cuts them into parts of equal sizes.

    McMahan et al. 2017, section 3: 60,000 examples among 100 clients are 600
    each. Sizes differ by at most one.

    Example:
      >>> draw = np.random.default_rng(0)
      >>> names, parts = iid(np.zeros(7), None, draw, num_clients=3)
      >>> names, [len(part) for part in parts]
      (['client_0', 'client_1', 'client_2'], [3, 2, 2])

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
    check_enough(
        len(labels), num_clients, f"--num_clients={num_clients} clients"
    )
    return numbered(np.array_split(draw.permutation(len(labels)), num_clients))


def quantity(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
    *,
    num_clients: int,
    quantity_exponent: float,
) -> Parts:
    """Shuffles examples and cuts parts whose sizes follow a power law.

    Every client gets one example; the k-th client gets a share of the rest in
    proportion to k**-exponent, rounded. 1,000 examples among 4 clients with
    exponent 1 are 479, 240, 160 and 121; with exponent 0, 250 each.

    Example:
      >>> draw = np.random.default_rng(0)
      >>> _, parts = quantity(
      ...     np.zeros(1000), None, draw, num_clients=4, quantity_exponent=1.0
      ... )
      >>> [len(part) for part in parts]
      [479, 240, 160, 121]

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
    check_enough(
        len(labels), num_clients, f"--num_clients={num_clients} clients"
    )
    # Never above 1, so that no exponent overflows.
    shares = np.arange(1.0, num_clients + 1) ** -quantity_exponent
    bounds = np.cumsum(shares) / shares.sum() * (len(labels) - num_clients)
    cuts = np.round(bounds[:-1]).astype(int) + np.arange(1, num_clients)
    return numbered(np.split(draw.permutation(len(labels)), cuts))


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


def pooled(
    labels: Array,
    owners: Optional[Array],
    draw: np.random.Generator,
) -> Parts:
    """Groups examples by the client that the data name, to be pooled.

    `partition` gives the examples of all these clients, after each is cut to
    `max_examples_per_client`, to one: the same examples as a federated run
    has, trained on in one place.

    Args:
      labels: Only their number counts.
      owners: The client of each example, of shape [n]; `None` if the data do
        not name clients.
      draw: Not used.

    Returns:
      The clients' names and examples.
    """
    del draw
    if owners is None:
        return [POOLED], [np.arange(len(labels))]
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
