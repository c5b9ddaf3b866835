"""What clients keep from one round they take part in to the next.

For algorithms with state on the clients, such as SCAFFOLD's control variates
(Karimireddy et al. 2020). In simulation one store holds it for all of them; a
checkpoint saves it with the server's state.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tree

_IDS = "client_ids"
_STATES = "states/"
_END = b"."


class ClientStates:
    """Client id -> a nested structure of arrays, alike for all clients.

    A store is never changed: `updated` gives another, so that one can be saved
    while training goes on.
    """

    def __init__(self, initial: Any):
        """Makes a store in which nobody has anything of its own yet.

        Args:
          initial: What a client has that never took part; it also says how
            states are nested.
        """
        self.initial = initial
        self._states: dict[str, list[np.ndarray]] = {}

    def of_clients(self, client_ids: Sequence[str]) -> list[Any]:
        """The clients' states, in the order of their ids."""
        return [
            tree.unflatten_as(self.initial, self._states[client_id])
            if client_id in self._states
            else self.initial
            for client_id in client_ids
        ]

    def updated(
        self, client_ids: Sequence[str], states: Sequence[Any]
    ) -> "ClientStates":
        """The store after these clients took part.

        Raises:
          ValueError: If there are not as many states as clients, or one has
            another structure, shape or dtype than the initial one.
        """
        if len(client_ids) != len(states):
            raise ValueError(
                f"{len(client_ids)} clients gave back {len(states)} states."
            )
        wanted = _signature(self.initial)
        changed = {}
        for client_id, state in zip(client_ids, states):
            if _signature(state) != wanted:
                raise ValueError(
                    f"Client {client_id} gave back {_signature(state)} for a "
                    f"state, and all have {wanted}."
                )
            changed[client_id] = list(map(np.asarray, tree.flatten(state)))
        new = ClientStates(self.initial)
        new._states = {**self._states, **changed}
        return new

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name: one of ids, one a part of the states."""
        ids = sorted(self._states)
        # With an end of their own, for NumPy takes zeros at the end away.
        arrays = {_IDS: np.array([i.encode() + _END for i in ids], np.bytes_)}
        for place, (path, leaf) in enumerate(
            tree.flatten_with_path(self.initial)
        ):
            initial = np.asarray(leaf)
            kept = [self._states[i][place] for i in ids]
            arrays[_STATES + "/".join(map(str, path))] = np.array(
                kept, initial.dtype
            ).reshape(len(ids), *initial.shape)
        return arrays

    def restored(self, arrays: Mapping[str, np.ndarray]) -> "ClientStates":
        """The store of the same structure whose `arrays` these are.

        Raises:
          ValueError: If they are of another structure.
        """
        wanted = {n: (a.shape[1:], a.dtype) for n, a in self.arrays().items()}
        given = {n: (a.shape[1:], a.dtype) for n, a in arrays.items()}
        if _IDS in given:
            wanted[_IDS] = given[_IDS]  # How long the longest is differs.
        if wanted != given or len(set(map(len, arrays.values()))) != 1:
            raise ValueError(
                f"The clients' states are {given}, and this run has {wanted}."
            )
        new = ClientStates(self.initial)
        parts = [arrays[name] for name in wanted if name != _IDS]
        for row, client_id in enumerate(arrays[_IDS]):
            name = client_id[: -len(_END)].decode()
            new._states[name] = [part[row] for part in parts]
        return new


def _signature(state: Any) -> list[Any]:
    return [
        (path, np.asarray(leaf).dtype, np.asarray(leaf).shape)
        for path, leaf in tree.flatten_with_path(state)
    ]
