"""Reads clients from an SQLite file of TFF's format, one at a time.

The format is that of `tff.simulation.datasets.load_and_parse_sql_client_data`:
a table `examples` (split_name, client_id, serialized_example_proto, each a
`tf.train.Example`) and a table `client_metadata` (client_id, split_name,
num_examples). A file that `sqlite_writer` made has two more, which TFF's reader
passes over: `features` (name, dtype, shape in JSON) and `class_names`
(class_id, name).
"""

import contextlib
import os
import sqlite3
import sys
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.readers import (
    other_kinds,
    sqlite_examples,
    sqlite_features,
)

Array = npt.NDArray[Any]

ENDINGS = (".sqlite", ".sqlite3", ".db")
_TABLES = {
    "examples": ("split_name", "client_id", "serialized_example_proto"),
    "client_metadata": ("client_id", "split_name", "num_examples"),
}
# So many examples are in memory at a time while labels are read.
_MANY = 1000


def key(client_id: str) -> int:
    """Returns a number of 32 bits for a client's randomness.

    >>> key("a"), key("b")
    (3904355907, 1908338681)

    Args:
      client_id: The client's name; two clients seldom share a number.
    """
    return zlib.crc32(client_id.encode())


class Database:
    """SQLite file of clients and their examples.

    Attributes:
      path: The file.
      sizes: Split's name -> client's name -> count of examples.
      class_names: The names of classes; `None` if the file has none.
    """

    def __init__(self, path: str):
        """Reads the file's tables, but no examples.

        Args:
          path: The file, or a folder that holds one with a name that ends in
            one of `ENDINGS`.

        Raises:
          DataError: If the file is missing, damaged or of another format.
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
                present = connection.execute(f"PRAGMA table_info({table})")
                # A view is not taken for a table: it may compute for ever.
                if table not in tables or not (
                    set(columns) <= {row[1] for row in present}
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
        """Opens the file for reading; SQLite's errors become `DataError`."""
        address = f"file:{urllib.parse.quote(self.path)}?mode=ro"
        try:
            with contextlib.closing(
                sqlite3.connect(address, uri=True)
            ) as connection:
                if sys.version_info >= (3, 11):
                    # No cell is longer than the file, whatever its header
                    # says.
                    connection.setlimit(
                        sqlite3.SQLITE_LIMIT_LENGTH, os.path.getsize(self.path)
                    )
                yield connection
        # The second comes from names in a damaged schema, the third from a cell
        # whose header says that it has gigabytes.
        except (sqlite3.Error, UnicodeDecodeError, MemoryError) as error:
            advice = other_kinds.advice(
                self.path,
                other_kinds.DATABASE,
                "it may be damaged or packed: unpack or write it again",
            )
            raise errors.DataError(
                f"{self.path} cannot be read as SQLite ({error}); {advice}."
            ) from None

    def _read_sizes(self, connection: sqlite3.Connection) -> None:
        """Reads the table `client_metadata` into `sizes`."""
        # Every example takes at least a byte of the file.
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
        """Reads a client's examples.

        Args:
          client_id: The client's name.
          splits: Names of splits, such as "train".

        Returns:
          The examples of these splits, in the file's order.

        Raises:
          DataError: If they contradict the table `features` or
            `client_metadata`.
        """
        marks = ", ".join("?" for _ in splits)
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT serialized_example_proto FROM examples WHERE "
                f"client_id = ? AND split_name IN ({marks}) ORDER BY rowid",
                (client_id, *splits),
            ).fetchall()
        count = sum(self.sizes[each].get(client_id, 0) for each in splits)
        if len(rows) != count:
            raise errors.DataError(
                f"{self.path} has {len(rows)} examples of the client "
                f"{client_id!r}, but client_metadata says {count}; write it "
                "again."
            )
        return sqlite_examples.parse(
            [row[0] for row in rows],
            self._specs,
            path=self.path,
            owner=f"the client {client_id!r}",
        )

    def labels(self, splits: Sequence[str]) -> Iterator[Array]:
        """Yields the labels of all clients, up to 1,000 at a time.

        Args:
          splits: Names of splits, such as "train".

        Yields:
          Arrays of shape [examples, *shape of a label], in the file's order.

        Raises:
          DataError: If examples contradict the table `features`.
        """
        marks = ", ".join("?" for _ in splits)
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT serialized_example_proto FROM examples WHERE "
                f"split_name IN ({marks})",
                tuple(splits),
            )
            while batch := rows.fetchmany(_MANY):
                yield sqlite_examples.parse(
                    [row[0] for row in batch],
                    self._specs,
                    path=self.path,
                    owner="some client",
                ).y


class SqliteData(FederatedData):
    """Clients of a database, each read when it is asked for.

    Attributes:
      client_ids: The clients' names.
    """

    def __init__(
        self,
        database: Database,
        client_ids: Sequence[str],
        splits: Sequence[str],
        *,
        chosen: Callable[[str, int], Array],
        labels: Callable[[Array], Array],
    ):
        """Chooses clients and examples; nothing is read yet.

        Args:
          database: The file of clients.
          client_ids: The clients' names.
          splits: Names of the splits that their examples come from.
          chosen: Function from (client's name, count of its examples in these
            splits) to the places of those that it keeps, an int array.
          labels: Function from an array of the file's labels to an array of
            the labels that the model learns.
        """
        self.client_ids = tuple(client_ids)
        self._database = database
        self._splits = tuple(splits)
        self._chosen = chosen
        self._labels = labels

    def _places(self, client_id: str) -> Array:
        """Returns the places of the examples that a client keeps."""
        count = sum(
            self._database.sizes[split].get(client_id, 0)
            for split in self._splits
        )
        return self._chosen(client_id, count)

    def size(self, client_id: str) -> int:
        """Returns the count of examples that a client keeps.

        Args:
          client_id: The client's name.
        """
        return len(self._places(client_id))

    def load(self, client_id: str) -> Examples:
        """Reads the examples that a client keeps.

        Args:
          client_id: The client's name.

        Raises:
          DataError: If the file contradicts itself; see `Database.load`.
        """
        examples = self._database.load(client_id, self._splits)
        taken = examples.take(self._places(client_id))
        return Examples(taken.x, self._labels(taken.y))


def _find(path: str) -> str:
    """Returns the path of the file that `path` names or holds."""
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(ENDINGS))
        if len(names) != 1:
            advice = "name one with --data_dir"
            if not names:
                advice = other_kinds.advice(path, other_kinds.DATABASE, advice)
            raise errors.DataError(
                f"{path} holds {len(names)} files that end in "
                f"{', '.join(ENDINGS)}; {advice}."
            )
        path = os.path.join(path, names[0])
    if not os.path.exists(path):
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name an SQLite file of "
            "clients (scripts/prepare_data.py writes one)."
        )
    return path
