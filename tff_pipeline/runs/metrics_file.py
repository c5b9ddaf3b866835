"""metrics.csv and TensorBoard: a row a round, in step with checkpoints."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import tensorflow as tf

from tff_pipeline.files import durable, storage
from tff_pipeline.files.append_only import Journal

Value = Union[int, float]
Row = Mapping[str, Value]


class MetricsLog:
    """Rows of numbers by round, in a CSV file and as TensorBoard scalars."""

    def __init__(
        self, csv_path: str, tensorboard_dir: str, columns: Sequence[str]
    ):
        """Opens the log.

        Args:
          csv_path: The CSV file.
          tensorboard_dir: Folder of TensorBoard's event files.
          columns: The CSV's columns; the first is "round". Columns that a row
            lacks stay empty.
        """
        self._journal = Journal(csv_path)
        self._tensorboard_dir = tensorboard_dir
        self._columns = list(columns)
        self._events: Any = None

    def rewind(
        self, round_number: int, logged: Optional[Sequence[Row]] = None
    ) -> list[Row]:
        """Goes back to a checkpoint; those after are of a future that was lost.

        TensorBoard's files are written anew from the rows that are kept.

        Args:
          round_number: The checkpoint's.
          logged: The rows up to there as another file has them, without how
            long they took, which is read from this one; `None` if only this
            one has them.

        Returns:
          The rows up to there.

        Raises:
          RunDirectoryError: If the files cannot be read or written.
        """
        here = {}
        if storage.exists(self._journal.path):
            here = {row["round"]: row for row in read(self._journal.path)}
        if logged is None:
            rows: list[Row] = [
                here[number]
                for number in sorted(here)
                if number <= round_number
            ]
        else:
            rows = [
                {**row, "seconds": here[row["round"]]["seconds"]}
                if "seconds" in here.get(row["round"], {})
                else row
                for row in logged
            ]
        header = ",".join(self._columns) + "\n"
        self._journal.begin(header + "".join(map(self._line, rows)))
        with self._tensorboard_explained():
            storage.remove_any(self._tensorboard_dir)
            self._events = tf.summary.create_file_writer(self._tensorboard_dir)
            for row in rows:
                self._write_events(row)
        return rows

    def append(self, row: Row) -> None:
        """Adds the row of a round; see `sync`.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        self._journal.append(self._line(row))
        with self._tensorboard_explained():
            self._write_events(row)

    def sync(self) -> None:
        """Has all rows of the CSV on the disk when it returns."""
        self._journal.sync()

    def _line(self, row: Row) -> str:
        cells = (row.get(name, "") for name in self._columns)
        return ",".join(map(str, cells)) + "\n"

    def close(self) -> None:
        """Writes out what TensorBoard's writer still holds."""
        if self._events is not None:
            with self._tensorboard_explained():
                self._events.close()

    @contextlib.contextmanager
    def _tensorboard_explained(self) -> Iterator[None]:
        with durable.explained(self._tensorboard_dir):
            try:
                yield
            except tf.errors.OpError as error:
                raise OSError(error.message) from None

    def _write_events(self, row: Row) -> None:
        with self._events.as_default():
            for name, value in row.items():
                if name != "round":
                    tag = name.replace("_", "/", 1)
                    # TensorBoard's numbers are float32; what is too large
                    # for one becomes infinite.
                    number = tf.cast(tf.constant(value, tf.float64), tf.float32)
                    tf.summary.scalar(tag, number, step=int(row["round"]))


def read(csv_path: str) -> list[dict[str, Value]]:
    """The rows of a metrics.csv; cells that are empty are left out.

    A last line that a killed process did not finish is left out too.

    Raises:
      RunDirectoryError: If the file cannot be read.
    """
    with durable.explained(csv_path, "read"):
        # What is damaged beyond reading is no row.
        text = storage.of(csv_path).read(csv_path).decode("utf-8", "replace")
    lines = text.split("\n")
    header, rows = lines[0].split(","), []
    # Without its line's end, the last one may be cut within a number.
    for line in lines[1:-1]:
        cells = line.split(",")
        try:
            row = {n: _number(cell) for n, cell in zip(header, cells) if cell}
        except ValueError:
            continue
        if len(cells) == len(header) and "round" in row:
            rows.append(row)
    return rows


def _number(cell: str) -> Value:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
