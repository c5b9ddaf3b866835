"""Keeps the state of clients from one round that they take part in to the next.

Algorithms with state on their clients need it, such as SCAFFOLD with its
control variates (Karimireddy et al. 2020). A simulation holds the state of all
clients on the disk, a file for each row. Memory is needed for the cohort alone,
and a checkpoint writes only the rows that changed since the one before.
"""

import copy
import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tree

from tff_pipeline.runs.row_files import DamagedRowError, RowFiles
from tff_pipeline.runs.state_files import Array, digest, flatten

_IDS = "client_ids"
_DIGESTS = "row_digests"
_END = b"."


@dataclasses.dataclass(frozen=True)
class KeptIndex:
    """Index of the row that each client keeps.

    Attributes:
      rows: Client id -> SHA-256 of its row, for the clients with one.
    """

    rows: Mapping[str, str]

    def digest(self) -> str:
        """Computes the SHA-256, in hexadecimal, of all that clients keep.

        It is the hash of a text with a line for each client, in the order of
        the ids: the row's SHA-256, a space and the id as JSON. No row is read.

        >>> one = KeptIndex({"a": "00ff", "b": "11ee"})
        >>> one.digest() == KeptIndex({"b": "11ee", "a": "00ff"}).digest()
        True
        """
        total = hashlib.sha256()
        for client_id in sorted(self.rows):
            line = f"{self.rows[client_id]} {json.dumps(client_id)}\n"
            total.update(line.encode())
        return total.hexdigest()

    def arrays(self) -> dict[str, Array]:
        """Returns the index as arrays of n ids and n rows of 32 uint8."""
        ids = sorted(self.rows)
        digests = b"".join(bytes.fromhex(self.rows[i]) for i in ids)
        return {
            # With an end of their own, for NumPy drops zeros at the end.
            _IDS: np.array([i.encode() + _END for i in ids], np.bytes_),
            _DIGESTS: np.frombuffer(digests, np.uint8).reshape(len(ids), 32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "KeptIndex":
        """Returns the index that `arrays` were made from.

        Args:
          arrays: Name -> array, as the method `arrays` returns them.

        Raises:
          ValueError: If they are no index.
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        count = len(arrays.get(_DIGESTS, ()))
        if (
            shapes != {_IDS: (count,), _DIGESTS: (count, 32)}
            or arrays[_IDS].dtype.kind != "S"
            or arrays[_DIGESTS].dtype != np.uint8
        ):
            raise ValueError(
                f"{shapes} are no index of what clients keep; it has "
                f"{_IDS} and {_DIGESTS}"
            )
        ids = [each[: -len(_END)].decode() for each in arrays[_IDS].tolist()]
        return cls(
            {i: d.tobytes().hex() for i, d in zip(ids, arrays[_DIGESTS])}
        )


class KeptStates:
    """Mapping from a client's id to the row that this client keeps.

    A row is a nested structure of arrays, alike for all clients. Clients that
    never took part have the initial row. An object never changes: `updated`
    returns another one, so that one can be saved while training goes on. Only
    the index is in memory; rows are in `row_files`, and the files that an
    object refers to stay as long as the object is referenced.

    Attributes:
      initial: The row of a client that never took part.
      index: The row that each client keeps; a checkpoint saves it.
      files: The rows' files.
    """

    def __init__(self, folder: str, initial: Any):
        """Makes an object in which no client has a row of its own yet.

        Args:
          folder: The run's folder of checkpoints, where the rows will lie too.
          initial: The row of a client that never took part; it also says how
            rows are nested, and their arrays' shapes and dtypes.

        Raises:
          TypeError: If `initial` holds something that is not an array.
        """
        self.initial = initial
        self._like = flatten(initial)
        self.files = RowFiles(folder)
        self.index = KeptIndex({})

    @property
    def client_ids(self) -> list[str]:
        """Ids of the clients with a row of their own, sorted."""
        return sorted(self.index.rows)

    @property
    def row_digests(self) -> Collection[str]:
        """SHA-256 of the rows that the clients keep."""
        return self.index.rows.values()

    @property
    def structure(self) -> dict[str, list[Any]]:
        """Types of a row's arrays, as JSON: name -> [dtype, shape]."""
        return {
            name: [array.dtype.str, list(array.shape)]
            for name, array in self._like.items()
        }

    def rows(self, client_ids: Sequence[str]) -> list[Any]:
        """Reads the rows of these clients, and no others.

        Args:
          client_ids: Ids in any order, known or not.

        Returns:
          A row for each id.

        Raises:
          InvalidCheckpointError: If a row is missing or damaged. A damaged one
            is put aside: when the run is started again, it goes on from a
            checkpoint that does not need it.
        """
        return [self._row(client_id) for client_id in client_ids]

    def _row(self, client_id: str) -> Any:
        """Reads the row of one client."""
        row = self.index.rows.get(client_id)
        if row is None:
            return self.initial
        try:
            arrays = self.files.read(row, self._like)
        except DamagedRowError as error:
            self.files.put_aside(row)
            raise DamagedRowError(
                f"{error} It is put aside; start the run again to go on from a "
                "checkpoint that does not need it."
            ) from None
        return tree.unflatten_as(
            self.initial, [array[()] for array in arrays.values()]
        )

    def updated(
        self, client_ids: Sequence[str], rows: Sequence[Any]
    ) -> "KeptStates":
        """Writes the rows of these clients, where they changed.

        All that was written is on the disk when it returns.

        Args:
          client_ids: The clients that took part. If one did so twice, its
            last row counts.
          rows: Their rows, in the same order.

        Returns:
          An object with the new rows; this one is as before.

        Raises:
          ValueError: If there are not as many rows as clients, or one has
            another structure, shape or dtype than the initial one.
          RunDirectoryError: If a row cannot be written.
        """
        if len(client_ids) != len(rows):
            raise ValueError(
                f"{len(client_ids)} clients gave back {len(rows)} states."
            )
        changed = {}
        for client_id, row in zip(client_ids, rows):
            changed[client_id] = self._flatten(client_id, row)
        digests = {i: digest(arrays) for i, arrays in changed.items()}
        with self.files.lock:
            for client_id, arrays in changed.items():
                self.files.write(digests[client_id], arrays)
            return self.restored(KeptIndex({**self.index.rows, **digests}))

    def _flatten(self, client_id: str, row: Any) -> dict[str, Array]:
        """Returns a row's arrays by path; refuses one unlike the initial."""
        arrays = flatten(row)
        if _signature(arrays) != _signature(self._like):
            raise ValueError(
                f"Client {client_id} gave back {_signature(arrays)} for a "
                f"state, and all have {_signature(self._like)}."
            )
        return arrays

    def digest(self) -> str:
        """Computes the SHA-256 of all that clients keep: `KeptIndex.digest`."""
        return self.index.digest()

    def restored(self, index: KeptIndex) -> "KeptStates":
        """Returns the states that clients kept when an index was saved.

        Args:
          index: The index, of rows in the same folder.
        """
        new = copy.copy(self)
        new.index = index
        new.files.hold(new)
        return new

    def check(self, most_bytes: int) -> None:
        """Checks that all rows are there, and are as they were written.

        Args:
          most_bytes: Rows that are larger than this, all together, are only
            looked for, and checked when they are read.

        Raises:
          InvalidCheckpointError: If one is missing or damaged.
        """
        digests = set(self.row_digests)
        self.files.check_present(digests)
        size = sum(array.nbytes for array in self._like.values())
        if len(digests) * size <= most_bytes:
            self.files.check(digests)


def _signature(arrays: Mapping[str, Array]) -> list[tuple[str, Any, Any]]:
    return [(name, a.dtype, a.shape) for name, a in arrays.items()]
