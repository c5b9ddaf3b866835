"""Counts clients' examples and the classes of their labels."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import scipy.sparse

from tff_pipeline.datasets.federation.federated_data import FederatedData

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Census:
    """Counts of clients' examples and labels.

    Attributes:
      client_ids: The clients' names.
      sizes: int64 [clients], the number of examples of each client.
      labels: int64 [classes], the classes that occur, ascending; `None` if
        labels are not classes.
      counts: Sparse int64 [clients, classes], the number of times that each
        client has each class; in a sequence every place but padding counts.
        `None` if labels are not classes.
    """

    client_ids: Sequence[str]
    sizes: Array
    labels: Optional[Array] = None
    counts: Optional[scipy.sparse.csr_matrix] = None

    def client_labels(self, position: int) -> tuple[Array, Array]:
        """Returns the classes of one client, the most frequent first.

        Args:
          position: The client's place in `client_ids`.

        Returns:
          (classes, counts): int64 [k], the classes that the client has, and
          int64 [k], the number of times that it has each.
        """
        assert self.labels is not None and self.counts is not None
        row = self.counts[position]
        order = np.argsort(-row.data, kind="stable")
        return self.labels[row.indices[order]], row.data[order]


def count(clients: FederatedData, padding: Optional[int] = None) -> Census:
    """Counts the examples and labels of all clients, reading one at a time.

    Example:
      >>> from tff_pipeline.datasets.federation import federated_data
      >>> labels = np.array([0, 1, 1, 2])
      >>> examples = federated_data.Examples(np.zeros(4), labels)
      >>> places = {"a": np.array([0, 1, 2]), "b": np.array([3])}
      >>> census = count(federated_data.InMemoryData(examples, places))
      >>> census.sizes.tolist(), census.counts.toarray().tolist()
      ([3, 1], [[1, 2, 0], [0, 0, 1]])

    Args:
      clients: The clients; labels are classes if all of them are integers.
      padding: The label of places that have none, which is not counted.

    Returns:
      The counts.
    """
    names = list(clients.client_ids)
    sizes, rows, is_classes = [], [], True
    for name in names:
        labels = clients.load(name).y
        sizes.append(len(labels))
        is_classes = is_classes and np.issubdtype(labels.dtype, np.integer)
        if is_classes:
            if padding is not None:
                labels = labels[labels != padding]
            rows.append(np.unique(labels, return_counts=True))
    if not is_classes:
        return Census(names, np.array(sizes))
    known, columns = np.unique(
        np.concatenate([labels for labels, _ in rows]), return_inverse=True
    )
    counts = scipy.sparse.csr_matrix(
        (
            np.concatenate([counts for _, counts in rows]),
            columns,
            np.cumsum([0, *(len(labels) for labels, _ in rows)]),
        ),
        shape=(len(names), len(known)),
    )
    return Census(names, np.array(sizes), known, counts)
