"""Clients in an SQLite file of TFF's format, read a client at a time.

The format is that of `tff.simulation.datasets.load_and_parse_sql_client_data`:
a table `examples` (split_name, client_id, serialized_example_proto, each a
`tf.train.Example`) and a table `client_metadata` (client_id, split_name,
num_examples). A file that `sqlite_writer` made has two more, which TFF's reader
passes over: `features` (name, dtype, shape in JSON) and `class_names`
(class_id, name).
"""

import contextlib
import math
import os
import sqlite3
import sys
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.readers import sqlite_features

Array = npt.NDArray[Any]

ENDINGS = (".sqlite", ".sqlite3", ".db")
_TABLES = {
    "examples": ("split_name", "client_id", "serialized_example_proto"),
    "client_metadata": ("client_id", "split_name", "num_examples"),
}
_MANY = 1000


def key(client_id: str) -> int:
    """A number of a client's own, for its randomness."""
    return zlib.crc32(client_id.encode())


class Database:
    """A file of clients.

    Attributes:
      path: Of the file.
      sizes: Split's name -> client's name -> how many examples.
      class_names: Where the file has them.
    """

    def __init__(self, path: str):
        """Opens the file, to read only.

        Args:
          path: The file, or a folder with one that ends like `ENDINGS`.

        Raises:
          DataError: If it is missing, damaged or of another format.
        """
        self.path = _find(path)
        self.sizes: dict[str, dict[str, int]] = {}
        self.class_names: Optional[list[str]] = None
        with self._connected() as connection:
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            ]
            for table, columns in _TABLES.items():
                found = connection.execute(f"PRAGMA table_info({table})")
                # A view is no table: it computes, and perhaps without end.
                if table not in tables or not (
                    set(columns) <= {row[1] for row in found}
                ):
                    raise errors.DataError(
                        f"{self.path} has no table {table} with the columns "
                        f"{', '.join(columns)}; it has the tables: "
                        f"{', '.join(tables) or 'none'}."
                    )
            self._read_sizes(connection)
            if "class_names" in tables:
                names = connection.execute(
                    "SELECT name FROM class_names ORDER BY class_id"
                )
                self.class_names = [str(name) for (name,) in names] or None
            self._specs = sqlite_features.read(
                self.path, connection, "features" in tables
            )

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        address = f"file:{urllib.parse.quote(self.path)}?mode=ro"
        try:
            with contextlib.closing(
                sqlite3.connect(address, uri=True)
            ) as connection:
                if sys.version_info >= (3, 11):
                    # No cell is longer than its file, whatever it says.
                    connection.setlimit(
                        sqlite3.SQLITE_LIMIT_LENGTH, os.path.getsize(self.path)
                    )
                yield connection
        # The second is of the names in a damaged schema; the third, of a cell
        # that says that it is of gigabytes.
        except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
            raise errors.DataError(
                f"{self.path} cannot be read as SQLite ({error}); it may be "
                "damaged or packed: unpack or write it again."
            ) from None

    def _read_sizes(self, connection: sqlite3.Connection) -> None:
        # No example takes less than a byte of the file.
        left = os.path.getsize(self.path)
        for client, split, count in connection.execute(
            "SELECT client_id, split_name, num_examples "
            "FROM client_metadata ORDER BY client_id"
        ):
            left -= count if isinstance(count, int) else 0
            if not (
                isinstance(client, str)
                and isinstance(split, str)
                and isinstance(count, int)
                and count > 0
                and left >= 0
            ):
                raise errors.DataError(
                    f"{self.path} has {count!r} examples of the client "
                    f"{client!r} in the split {split!r}, says client_metadata; "
                    "names must be text, and counts whole numbers above 0 and "
                    "not more than fit into the file: write it again."
                )
            self.sizes.setdefault(split, {})[client] = count

    def load(self, client_id: str, splits: Sequence[str]) -> Examples:
        """Reads a client's examples of some splits.

        Raises:
          DataError: If they are not what the tables say of them.
        """
        marks = ", ".join("?" for _ in splits)
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT serialized_example_proto FROM examples WHERE "
                f"client_id = ? AND split_name IN ({marks}) ORDER BY rowid",
                (client_id, *splits),
            ).fetchall()
        wanted = sum(self.sizes[each].get(client_id, 0) for each in splits)
        if len(rows) != wanted:
            raise errors.DataError(
                f"{self.path} has {len(rows)} examples of the client "
                f"{client_id!r}, but client_metadata says {wanted}; write it "
                "again."
            )
        return self._parsed([row[0] for row in rows], client_id)

    def _parsed(self, rows: list[bytes], client_id: str) -> Examples:
        needed = sum(math.prod(shape) for _, shape in self._specs.values())
        for row in rows:
            # A number takes a byte at least. TensorFlow makes room first.
            if not isinstance(row, bytes) or len(row) < needed:
                raise errors.DataError(
                    f"{self.path} has an example of the client {client_id!r} "
                    f"that does not hold {needed} numbers, which `features` or "
                    "the first one promise; write it again."
                )
        specs = {
            name: tf.io.FixedLenFeature(
                shape, tf.int64 if dtype.kind in "bui" else tf.float32
            )
            for name, (dtype, shape) in self._specs.items()
        }
        try:
            # Eagerly, whatever graph the caller builds.
            with tf.init_scope():
                parsed = tf.io.parse_example(rows, specs)
        # The second is of TensorFlow's message, if a feature's name is none.
        except (tf.errors.OpError, UnicodeDecodeError) as error:
            raise errors.DataError(
                f"{self.path} has examples of the client {client_id!r} that "
                "are not like the first one or like what `features` says "
                f"({str(error).splitlines()[0]}); write it again."
            ) from None
        return Examples(*(self._cast(name, parsed[name]) for name in "xy"))

    def _cast(self, name: str, parsed: tf.Tensor) -> Array:
        values = parsed.numpy()
        cast = values.astype(self._specs[name][0], copy=False)
        if values.dtype.kind == "i" and (cast != values).any():
            raise errors.DataError(
                f"{self.path} has the number {values[cast != values][0]} in "
                f"{name}, beyond {cast.dtype}; save such numbers as floats."
            )
        return cast

    def labels(self, splits: Sequence[str]) -> Iterator[Array]:
        """Yields the labels of all clients, some at a time."""
        marks = ", ".join("?" for _ in splits)
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT serialized_example_proto FROM examples WHERE "
                f"split_name IN ({marks})",
                tuple(splits),
            )
            while some := rows.fetchmany(_MANY):
                yield self._parsed([row[0] for row in some], "of some rows").y


class SqliteData(FederatedData):
    """Clients of a database, each read when it is asked for."""

    def __init__(
        self,
        database: Database,
        client_ids: Sequence[str],
        splits: Sequence[str],
        chosen: Callable[[str, int], Array],
        labels: Callable[[Array], Array],
    ):
        """Makes the clients.

        Args:
          database: Where they are.
          client_ids: Their names.
          splits: Which of their examples.
          chosen: (client's name, how many examples it has there) -> the places
            of those that are taken.
          labels: Labels as the file has them -> as the model learns them.
        """
        self.client_ids = tuple(client_ids)
        self._database = database
        self._splits = tuple(splits)
        self._chosen = chosen
        self._labels = labels

    def _places(self, client_id: str) -> Array:
        count = sum(
            self._database.sizes[split].get(client_id, 0)
            for split in self._splits
        )
        return self._chosen(client_id, count)

    def size(self, client_id: str) -> int:
        return len(self._places(client_id))

    def load(self, client_id: str) -> Examples:
        examples = self._database.load(client_id, self._splits)
        taken = examples.take(self._places(client_id))
        return Examples(taken.x, self._labels(taken.y))


def _find(path: str) -> str:
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(ENDINGS))
        if len(names) != 1:
            raise errors.DataError(
                f"{path} holds {len(names)} files that end in "
                f"{', '.join(ENDINGS)}; name one with --data_dir."
            )
        path = os.path.join(path, names[0])
    if not os.path.exists(path):
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name an SQLite file of "
            "clients (scripts/prepare_data.py writes one)."
        )
    return path
