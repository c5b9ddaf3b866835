"""metrics.csv and TensorBoard: a row a round, in step with checkpoints."""

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Union

import tensorflow as tf

from tff_pipeline import durable

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
        self._csv_path = csv_path
        self._tensorboard_dir = tensorboard_dir
        self.columns = list(columns)

    def rewind(self, round_number: int) -> list[dict[str, Value]]:
        """Keeps the rows up to `round_number`, returns them, drops the rest.

        Those after are of a future that was lost with a killed process.
        TensorBoard's files are written anew from the rows that are kept.
        """
        rows = []
        if os.path.exists(self._csv_path):
            rows = [
                row
                for row in read(self._csv_path)
                if row["round"] <= round_number
            ]
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        durable.write_text(self._csv_path, text.getvalue())
        with self._tensorboard_explained():
            shutil.rmtree(self._tensorboard_dir, ignore_errors=True)
            self._events = tf.summary.create_file_writer(self._tensorboard_dir)
            for row in rows:
                self._write_events(row)
        return rows

    def append(self, row: Row) -> None:
        """Adds the row of a round.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        with (
            durable.explained(self._csv_path),
            open(self._csv_path, "a", encoding="utf-8", newline="") as file,
        ):
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(
                row
            )
            file.flush()
            os.fsync(file.fileno())
        with self._tensorboard_explained():
            self._write_events(row)

    def close(self) -> None:
        """Writes out what TensorBoard's writer still holds."""
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
    """
    with open(csv_path, encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")
    header, rows = lines[0].split(","), []
    # Without its line's end, the last one may be cut within a number.
    for line in lines[1:-1]:
        cells = line.split(",")
        try:
            row = {n: _number(cell) for n, cell in zip(header, cells) if cell}
        except ValueError:
            continue
        if len(cells) == len(header):
            rows.append(row)
    return rows


def _number(cell: str) -> Value:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
