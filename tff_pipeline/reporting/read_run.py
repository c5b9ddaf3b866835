"""Reads from a run directory what runs are compared by, without TensorFlow."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.runs import metric_names, metrics_file
from tff_pipeline.runs.best import Best
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metrics_file import Row

_DEEPEST = 4
_BYTES = ("bytes_up", "bytes_down")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as far as its files tell.

    Attributes:
      path: The run directory.
      config: The experiment.
      rows: The rows of metrics.csv, oldest first; at least one.
      ended: Why no round follows, such as "all rounds"; "" if the run can go
        on.
      data: A hash of the hashes of the data's files; `None` if not known.
      privacy: The content of privacy.json; empty without one.
    """

    path: str
    config: ExperimentConfig
    rows: Sequence[Row]
    ended: str
    data: Optional[str]
    privacy: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The value of `--seed`."""
        return self.config.run.seed

    @property
    def rounds(self) -> int:
        """The number of rounds that were trained."""
        return int(self.rows[-1]["round"])

    def settings(self) -> dict[str, Any]:
        """Returns the flags that decide what is learned, but for the seed."""
        flags = self.config.flags(identity_only=True)
        flags["total_rounds"] = self.config.run.total_rounds
        del flags["seed"]
        return flags

    def columns(self) -> list[str]:
        """Lists the columns that have a value in some round, in order."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def curve(self, column: str) -> list[tuple[int, float]]:
        """Returns (round, value) of each round that has the column.

        Args:
          column: A column of metrics.csv.
        """
        return [
            (int(row["round"]), row[column])
            for row in self.rows
            if column in row
        ]

    def final(self, column: str) -> Optional[float]:
        """Returns the last value of a column; `None` if it never has one.

        Args:
          column: A column of metrics.csv.
        """
        return self.curve(column)[-1][1] if self.curve(column) else None

    def best(self, column: str) -> Best:
        """Returns the best value of a column, and its round.

        Args:
          column: A column of metrics.csv.
        """
        return _best(self.rows, column)

    def total(self, column: str) -> float:
        """Returns the sum of a column over all rounds, such as "seconds".

        Args:
          column: A column of metrics.csv.
        """
        return sum(row.get(column, 0) for row in self.rows)

    @property
    def client_bytes(self) -> float:
        """Bytes to and from a client that takes part in every round."""
        return sum(map(self.total, _BYTES))

    @property
    def epsilon(self) -> Optional[float]:
        """Epsilon that was spent; `None` if no plan protects anyone.

        It is infinite where the plan has no finite one.
        """
        spent = self.final("epsilon")
        if spent is None and self.privacy:
            spent = self.privacy.get("epsilon")
            return float("inf") if spent is None else spent
        return spent

    @property
    def delta(self) -> float:
        """Delta that belongs to epsilon; 0 if it is not known."""
        return self.privacy.get("delta") or 0.0


def find(paths: Sequence[str]) -> list[str]:
    """Lists run directories: those that are named, or lie in named folders.

    Args:
      paths: Run directories, or folders that hold some.

    Returns:
      Each once, in the order of `paths`, those of a folder by name.

    Raises:
      ConfigError: If a path is no folder, or no run lies in it.
    """
    found: dict[str, str] = {}
    for path in paths:
        if not storage.file_system(path).is_folder(path):
            raise errors.ConfigError(
                f"{path} is no folder; name run directories that train wrote, "
                "or a folder of them."
            )
        runs = _below(path, _DEEPEST)
        if not runs:
            raise errors.ConfigError(
                f"{path} holds no run: no config.json is in it or below it; "
                "name run directories that train wrote, or a folder of them."
            )
        for run in runs:
            found.setdefault(os.path.realpath(run), os.path.normpath(run))
    return list(found.values())


def read(path: str) -> Run:
    """Reads a run directory.

    Args:
      path: The folder.

    Raises:
      RunDirectoryError: If it cannot be read, or no round has ended.
    """
    directory = RunDirectory(path)
    config = directory.read_config()
    if not storage.exists(directory.metrics):
        raise errors.RunDirectoryError(
            f"{path} holds no metrics.csv: no round of it has ended."
        )
    rows = metrics_file.read(directory.metrics)
    if not rows:
        raise errors.RunDirectoryError(
            f"{directory.metrics} holds no row: no round has ended, or the "
            "file is damaged."
        )
    data = directory.read_environment().get("data")
    return Run(
        path,
        config,
        rows,
        _ended(directory, config, rows),
        None if data is None else _digest(data),
        _privacy(directory),
    )


def _below(path: str, depth: int) -> list[str]:
    files = storage.file_system(path)
    if files.exists(RunDirectory(path).config):
        return [path]
    if depth == 0:
        return []
    inner = (os.path.join(path, name) for name in files.names(path))
    return [
        run
        for each in inner
        if files.is_folder(each)
        for run in _below(each, depth - 1)
    ]


def _ended(
    directory: RunDirectory, config: ExperimentConfig, rows: Sequence[Row]
) -> str:
    """Returns why no round follows the last row; "" if one may."""
    last = int(rows[-1]["round"])
    if last >= config.run.total_rounds:
        return "all rounds"
    if metric_names.reaches_target(config.run, rows[-1]):
        return "target reached"
    metric = config.run.target_metric
    if metric and _best(rows, metric).ends(config.run):
        return "out of patience"
    budget = config.privacy.dp_max_epsilon
    # What is exported before the last round was ended by its budget.
    if budget is not None and storage.exists(directory.exported):
        return "budget spent"
    return ""


def _best(rows: Sequence[Row], metric: str) -> Best:
    best = Best()
    for row in rows:
        best = best.after(row, metric)
    return best


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _privacy(directory: RunDirectory) -> dict[str, Any]:
    try:
        content = json.loads(storage.read_text(directory.privacy_json))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
