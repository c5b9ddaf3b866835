"""Examples, and examples that belong to clients."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Examples:
    """Examples as arrays.

    Attributes:
      x: Inputs of shape [n, ...].
      y: Labels of shape [n, ...].

    Raises:
      ValueError: If there are not as many inputs as labels.
    """

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
        """Selects examples.

        Example:
          >>> import numpy as np
          >>> examples = Examples(np.array([5, 6, 7]), np.array([0, 1, 0]))
          >>> examples.take(np.array([2, 0])).x
          array([7, 5])

        Args:
          indices: Integers or booleans that index the examples, of shape [m]
            or [n].

        Returns:
          The examples in the order of `indices`.
        """
        return Examples(self.x[indices], self.y[indices])


class FederatedData(abc.ABC):
    """A population of clients, whose examples are read a client at a time.

    Attributes:
      client_ids: The clients' names; the sequence need not hold them all in
        memory.
    """

    client_ids: Sequence[str]

    def __len__(self) -> int:
        """Returns the number of clients."""
        return len(self.client_ids)

    @abc.abstractmethod
    def size(self, client_id: str) -> int:
        """Returns the number of examples of a client.

        Args:
          client_id: One of `client_ids`.
        """

    @abc.abstractmethod
    def load(self, client_id: str) -> Examples:
        """Reads the examples of a client.

        Args:
          client_id: One of `client_ids`.

        Returns:
          Its examples, at least one, the same ones at every call.

        Raises:
          DataError: If they cannot be read.
        """


class InMemoryData(FederatedData):
    """Clients whose examples lie in memory."""

    def __init__(self, examples: Examples, clients: Mapping[str, Array]):
        """Assigns examples to clients.

        Args:
          examples: The examples of all clients.
          clients: Client's name -> int array of the indices of its examples.
        """
        self._examples = examples
        self._clients = dict(clients)
        self.client_ids = tuple(self._clients)

    def size(self, client_id: str) -> int:
        """Returns the number of a client's examples."""
        return len(self._clients[client_id])

    def load(self, client_id: str) -> Examples:
        """Returns a client's examples."""
        return self._examples.take(self._clients[client_id])
