"""Writes a run for TensorBoard: its scalars, and its row of HParams.

TensorBoard shows scalars by the first part of their names, in alphabetical
order. A figure in front of it puts loss and accuracy first: `1_loss/train` and
`1_loss/eval` stand in one section, before `3_metrics/`, `4_round/` and
`5_cost/`.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from tff_pipeline.files import durable, storage
from tff_pipeline.runs.metrics_file import Row

_FIRST = ("loss", "accuracy")
_PARTS = ("train", "eval", "validation")
_COSTS = ("bytes_", "seconds", "simulated", "epsilon")


def tag(column: str) -> str:
    """Returns the scalar's name for a column of metrics.csv.

    >>> [tag(name) for name in ("eval_loss", "train_auc", "clients", "seconds")]
    ['1_loss/eval', '3_metrics/train_auc', '4_round/clients', '5_cost/seconds']

    Args:
      column: The column.
    """
    part, _, metric = column.partition("_")
    if part in _PARTS and metric in _FIRST:
        return f"{1 + _FIRST.index(metric)}_{metric}/{part}"
    if part in _PARTS:
        return f"3_metrics/{column}"
    if column.startswith(_COSTS):
        return f"5_cost/{column}"
    return f"4_round/{column}"


class TensorBoardSink:
    """Writes rows as TensorBoard's scalars; see `sinks.MetricSink`."""

    def __init__(
        self, folder: str, hyperparameters: Optional[Mapping[str, Any]] = None
    ):
        """Imports TensorFlow, which takes seconds.

        Args:
          folder: The folder of the event files.
          hyperparameters: Flag name -> value, which the tab HParams shows
            beside the last value of each scalar; none to leave the tab empty.
        """
        import tensorflow as tf

        self._tf: Any = tf
        self._folder = folder
        self._hyperparameters = dict(hyperparameters or {})
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
            if self._hyperparameters:
                self._describe()
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

    def _describe(self) -> None:
        """Writes the row of HParams."""
        from tensorboard.plugins.hparams import api

        values = self._hyperparameters
        # Runs with the same flags are one row, as often as they are resumed.
        text = json.dumps(values, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        with self._events.as_default():
            api.hparams(values, trial_id=name)

    def _scalars(self, row: Row) -> None:
        tf = self._tf
        with self._events.as_default():
            for name, value in row.items():
                if name != "round":
                    # TensorBoard's numbers are float32; a value too large for
                    # one becomes infinite.
                    number = tf.cast(tf.constant(value, tf.float64), tf.float32)
                    tf.summary.scalar(tag(name), number, step=int(row["round"]))
