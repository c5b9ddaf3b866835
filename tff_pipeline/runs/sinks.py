"""Metric sinks: the places to which a run writes its row of numbers a round.

`--sinks` chooses them from `registry.SINKS`. An entry of that table is a
function of one `SinkContext` that returns a `MetricSink`.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, Optional, Protocol

from tff_pipeline import registry
from tff_pipeline.config import ExperimentConfig
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


def tensorboard(context: SinkContext) -> Any:
    """Returns the sink that writes the run's `tensorboard/`."""
    # Here: TensorFlow, which it needs, is not loaded by who reads runs.
    from tff_pipeline.runs.tensorboard_sink import TensorBoardSink

    return TensorBoardSink(
        context.directory.tensorboard, hyperparameters(context.config)
    )


def hyperparameters(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the flags by which a run is told from others.

    Args:
      config: The experiment.

    Returns:
      Flag name -> value, of the task, the seed and what is not the default.
    """
    usual = ExperimentConfig().flags()
    values = config.flags(identity_only=True)
    values["total_rounds"] = config.run.total_rounds
    return {
        name: value
        for name, value in values.items()
        if name in ("task", "seed") or value != usual.get(name)
    }
