"""Examples, and examples that belong to clients."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples as arrays: `x` of shape [n, ...] and `y` of shape [n, ...]."""

    x: Array
    y: Array

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(
                f"There are {len(self.x)} inputs but {len(self.y)} labels."
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: Array) -> "Examples":
        """The examples at `indices`, an int array of shape [m], in order."""
        return Examples(self.x[indices], self.y[indices])


class FederatedData(abc.ABC):
    """The examples of a population of clients, read a client at a time.

    Attributes:
      client_ids: The clients' names; a sequence, which need not hold them all
        in memory.
    """

    client_ids: Sequence[str]

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self.client_ids)

    @abc.abstractmethod
    def size(self, client_id: str) -> int:
        """How many examples the client has."""

    @abc.abstractmethod
    def load(self, client_id: str) -> Examples:
        """The client's examples, read now."""


class InMemoryData(FederatedData):
    """Examples in memory, spread over clients."""

    def __init__(self, examples: Examples, clients: Mapping[str, Array]):
        """Spreads `examples` over clients.

        Args:
          examples: All clients' examples.
          clients: Client id -> int array of the indices of its examples.
        """
        self._examples = examples
        self._clients = dict(clients)
        self.client_ids = tuple(self._clients)

    def size(self, client_id: str) -> int:
        return len(self._clients[client_id])

    def load(self, client_id: str) -> Examples:
        return self._examples.take(self._clients[client_id])
