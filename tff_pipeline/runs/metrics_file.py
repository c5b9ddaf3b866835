"""metrics.csv: a row of numbers a round, and the first of a run's sinks.

A run is resumed from this file, so that every run writes it. It is read and
written without TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Optional, Union

from tff_pipeline.files import durable, storage
from tff_pipeline.files.append_only import Journal
from tff_pipeline.runs import metric_names

Value = Union[int, float]
Row = Mapping[str, Value]


class CsvSink:
    """Writes rows to a CSV file; see `sinks.MetricSink`."""

    def __init__(self, path: str, columns: Sequence[str]):
        """Keeps the arguments; `rewind` creates the file.

        Args:
          path: The CSV file.
          columns: The names in its header; the first is "round". A cell stays
            empty where a row lacks the column.
        """
        self._journal = Journal(path)
        self._columns = list(columns)

    def rewind(self, round_number: int, rows: Sequence[Row]) -> None:
        """Replaces the file by one that holds the header and `rows`.

        Args:
          round_number: The last round that counts.
          rows: The rows of all rounds up to it.

        Raises:
          RunDirectoryError: If the file cannot be written.
        """
        del round_number  # The rows say it.
        header = ",".join(self._columns) + "\n"
        self._journal.begin(header + "".join(map(self._line, rows)))

    def write(self, row: Row) -> None:
        """Appends a row; it may be in memory until `sync`.

        Raises:
          RunDirectoryError: If the row cannot be written.
        """
        self._journal.append(self._line(row))

    def sync(self) -> None:
        """Returns once all rows are on the disk.

        Raises:
          RunDirectoryError: If they cannot be written.
        """
        self._journal.sync()

    def close(self) -> None:
        """Does nothing: the file is open only while a row is written."""

    def _line(self, row: Row) -> str:
        cells = (row.get(name, "") for name in self._columns)
        return ",".join(map(str, cells)) + "\n"


def rows_until(
    path: str, round_number: int, logged: Optional[Sequence[Row]] = None
) -> list[Row]:
    """Returns the rows of all rounds up to a checkpoint's.

    Args:
      path: The CSV file; it need not exist.
      round_number: The checkpoint's round. Rows after it were lost.
      logged: The same rows from the round log, which holds all columns but
        `seconds`; that column is taken from the CSV file. `None` to take
        everything from the CSV file.

    Raises:
      RunDirectoryError: If the file exists and cannot be read.
    """
    known = {}
    if storage.exists(path):
        known = {row["round"]: row for row in read(path)}
    if logged is None:
        return [known[n] for n in sorted(known) if n <= round_number]
    return [
        {**row, "seconds": known[row["round"]]["seconds"]}
        if "seconds" in known.get(row["round"], {})
        else row
        for row in logged
    ]


def read(path: str) -> list[dict[str, Value]]:
    r"""Returns the rows of a metrics.csv, without their empty cells.

    A last line that a killed process did not finish is left out.

    Args:
      path: The CSV file.

    Raises:
      RunDirectoryError: If the file cannot be read.

    Example:
      >>> import os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "metrics.csv")
      >>> with open(path, "w") as file:
      ...     _ = file.write("round,loss,clients\n1,0.5,10\n2,,9\n3,0.")
      >>> read(path)
      [{'round': 1, 'loss': 0.5, 'clients': 10}, {'round': 2, 'clients': 9}]
    """
    with durable.explained(path, "read"):
        # A damaged byte makes its line no row, not the file unreadable.
        text = storage.file_system(path).read(path).decode("utf-8", "replace")
    lines = text.split("\n")
    header, rows = lines[0].split(","), []
    # The last piece has no line break: it may be cut within a number.
    for line in lines[1:-1]:
        cells = line.split(",")
        try:
            row = {n: _number(cell) for n, cell in zip(header, cells) if cell}
        except ValueError:
            continue
        if len(cells) == len(header) and "round" in row:
            rows.append(row)
    return rows


def last_evaluation(
    metrics_csv: str, prefix: str = metric_names.TEST
) -> dict[str, float]:
    """Reads the newest central metrics of a run.

    Args:
      metrics_csv: The path of the run's metrics.csv.
      prefix: What their columns begin with: "eval_" on the test set,
        "validation_" on the validation set.

    Returns:
      The values by metric, from the last row that has any; empty if no row
      does.
    """
    for row in reversed(read(metrics_csv)):
        values = _of_prefix(row, prefix)
        if values:
            return values
    return {}


def evaluation_before(metrics_csv: str) -> dict[str, float]:
    """Reads the central metrics of a run before its first round.

    Args:
      metrics_csv: The path of the run's metrics.csv.

    Returns:
      The values on the test set by metric; empty if the run was not evaluated
      then.
    """
    for row in read(metrics_csv)[:1]:
        if row["round"] == 0:
            return _of_prefix(row, metric_names.TEST)
    return {}


def _of_prefix(row: Row, prefix: str) -> dict[str, float]:
    return {
        name[len(prefix) :]: value
        for name, value in row.items()
        if name.startswith(prefix)
    }


def _number(cell: str) -> Value:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
