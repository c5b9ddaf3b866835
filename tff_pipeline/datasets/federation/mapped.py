"""Changes clients' examples when they are read."""

from collections.abc import Callable

from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)


class MappedData(FederatedData):
    """Clients whose examples are computed from others' at each read."""

    def __init__(
        self, data: FederatedData, function: Callable[[Examples], Examples]
    ):
        """Wraps clients.

        Args:
          data: The clients.
          function: Function from all of a client's examples to as many others.
        """
        self._data = data
        self._function = function
        self.client_ids = data.client_ids

    def size(self, client_id: str) -> int:
        """Returns the number of a client's examples."""
        return self._data.size(client_id)

    def load(self, client_id: str) -> Examples:
        """Reads a client's examples and changes them."""
        return self._function(self._data.load(client_id))
