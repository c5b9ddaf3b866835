"""How many examples clients have, and of which classes."""

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
    """What is counted of clients.

    Attributes:
      client_ids: Their names.
      sizes: int64 [clients], each one's examples.
      labels: int64 [classes], the classes that occur, ascending; `None` where
        labels are no classes.
      counts: Sparse int64 [clients, classes], how often each occurs; every
        place of a sequence counts.
    """

    client_ids: Sequence[str]
    sizes: Array
    labels: Optional[Array] = None
    counts: Optional[scipy.sparse.csr_matrix] = None

    def of_client(self, position: int) -> tuple[Array, Array]:
        """A client's classes, most frequent first, and how often each occurs.

        Args:
          position: In `client_ids`.
        """
        assert self.labels is not None and self.counts is not None
        row = self.counts[position]
        order = np.argsort(-row.data, kind="stable")
        return self.labels[row.indices[order]], row.data[order]


def of(clients: FederatedData) -> Census:
    """Reads all clients, one after the other, and counts."""
    names = list(clients.client_ids)
    sizes, rows, is_classes = [], [], True
    for name in names:
        labels = clients.load(name).y
        sizes.append(len(labels))
        is_classes = is_classes and np.issubdtype(labels.dtype, np.integer)
        if is_classes:
            rows.append(np.unique(labels, return_counts=True))
    if not is_classes:
        return Census(names, np.array(sizes))
    known, columns = np.unique(
        np.concatenate([labels for labels, _ in rows]), return_inverse=True
    )
    counts = scipy.sparse.csr_matrix(
        (
            np.concatenate([count for _, count in rows]),
            columns,
            np.cumsum([0, *(len(labels) for labels, _ in rows)]),
        ),
        shape=(len(names), len(known)),
    )
    return Census(names, np.array(sizes), known, counts)
