"""Metric sinks: the places to which a run writes its row of numbers a round.

`--sinks` chooses them from `registry.SINKS`. An entry of that table is a
function of one `SinkContext` that returns a `MetricSink`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Optional, Protocol

from tff_pipeline import registry
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable, storage
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metrics_file import CsvSink, Row


class MetricSink(Protocol):
    """A place that takes a row of numbers a round.

    A sink is called from one thread at a time, not always the same one. An
    error that it raises as `RunDirectoryError` stops the run in a sentence.
    """

    def rewind(self, round_number: int, rows: Sequence[Row]) -> None:
        """Starts, or goes back to a checkpoint; called once, before `write`.

        Args:
          round_number: The checkpoint's round; 0 where a run begins. The sink
            forgets all that it holds of later rounds.
          rows: The rows of all rounds up to it, in order.
        """

    def write(self, row: Row) -> None:
        """Takes the row of the next round.

        Args:
          row: Column name -> number. `row["round"]` is the round, from 1.
            Columns without a value in this round are absent.
        """

    def sync(self) -> None:
        """Returns once all rows are where a crash cannot take them."""

    def close(self) -> None:
        """Releases what the sink holds; no call follows."""


@dataclasses.dataclass(frozen=True)
class SinkContext:
    """All that a sink is built from.

    Attributes:
      directory: The run directory that the run writes to.
      columns: Names of the columns that rows may have; the first is "round".
      config: The experiment, for sinks that describe the run they belong to.
    """

    directory: RunDirectory
    columns: Sequence[str]
    config: ExperimentConfig


class Sinks:
    """Several sinks as one; metrics.csv says which rows a resumed run has."""

    def __init__(self, metrics_csv: str, sinks: Sequence[MetricSink]):
        """Keeps the arguments; nothing is written before `rewind`.

        Args:
          metrics_csv: Path of metrics.csv, to which one of the sinks writes.
          sinks: Where rows go, in this order.
        """
        self._metrics_csv = metrics_csv
        self._sinks = tuple(sinks)

    def rewind(
        self, round_number: int, logged: Optional[Sequence[Row]] = None
    ) -> list[Row]:
        """Takes all sinks back to a checkpoint.

        Args:
          round_number: The checkpoint's round; 0 where a run begins.
          logged: The rows up to it as the round log has them, without
            `seconds`; `None` to take them from metrics.csv.

        Returns:
          The rows up to there.

        Raises:
          RunDirectoryError: If a file cannot be read or written.
        """
        rows = metrics_file.rows_until(self._metrics_csv, round_number, logged)
        for sink in self._sinks:
            sink.rewind(round_number, rows)
        return rows

    def append(self, row: Row) -> None:
        """Writes a round's row to every sink.

        Raises:
          RunDirectoryError: If a sink cannot write it.
        """
        for sink in self._sinks:
            sink.write(row)

    def sync(self) -> None:
        """Returns once the rows of every sink are safe.

        Raises:
          RunDirectoryError: If a sink cannot write them.
        """
        for sink in self._sinks:
            sink.sync()

    def close(self) -> None:
        """Closes every sink, the others too where one of them fails."""
        with contextlib.ExitStack() as stack:
            for sink in self._sinks:
                stack.callback(sink.close)


def build(context: SinkContext) -> Sinks:
    """Returns the sinks that `--sinks` names.

    Args:
      context: The run that will write to them.
    """
    names = context.config.run.sinks.split(",")
    return Sinks(
        context.directory.metrics,
        [registry.load(name, registry.SINKS)(context) for name in names],
    )


def csv(context: SinkContext) -> CsvSink:
    """Returns the sink that writes the run's metrics.csv."""
    return CsvSink(context.directory.metrics, context.columns)


def tensorboard(context: SinkContext) -> "TensorBoardSink":
    """Returns the sink that writes the run's `tensorboard/`."""
    return TensorBoardSink(context.directory.tensorboard)


class TensorBoardSink:
    """Writes rows as TensorBoard's scalars, `train_loss` as `train/loss`."""

    def __init__(self, folder: str):
        """Imports TensorFlow, which takes seconds.

        Args:
          folder: The folder of the event files.
        """
        import tensorflow as tf

        self._tf: Any = tf
        self._folder = folder
        self._events: Any = None

    def rewind(self, round_number: int, rows: Sequence[Row]) -> None:
        """Writes the event files anew, for they cannot be cut.

        Raises:
          RunDirectoryError: If they cannot be written.
        """
        del round_number  # The rows say it.
        with self._explained():
            storage.remove_any(self._folder)
            self._events = self._tf.summary.create_file_writer(self._folder)
            for row in rows:
                self._scalars(row)

    def write(self, row: Row) -> None:
        """Writes a row's scalars; they may be in memory until `close`.

        Raises:
          RunDirectoryError: If they cannot be written.
        """
        with self._explained():
            self._scalars(row)

    def sync(self) -> None:
        """Does nothing: after a crash `rewind` writes everything anew."""

    def close(self) -> None:
        """Writes what the event writer still holds.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        if self._events is not None:
            with self._explained():
                self._events.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with durable.explained(self._folder):
            try:
                yield
            except self._tf.errors.OpError as error:
                raise OSError(error.message) from None

    def _scalars(self, row: Row) -> None:
        tf = self._tf
        with self._events.as_default():
            for name, value in row.items():
                if name != "round":
                    tag = name.replace("_", "/", 1)
                    # TensorBoard's numbers are float32; a value too large for
                    # one becomes infinite.
                    number = tf.cast(tf.constant(value, tf.float64), tf.float32)
                    tf.summary.scalar(tag, number, step=int(row["round"]))
