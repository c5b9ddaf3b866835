"""Trains one flagfile with one seed, and takes figures of the run."""

import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from absl.testing import flagsaver

from benchmarks.contenders import ROOT
from tff_pipeline import experiment
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metrics_file import Row

# A run's config and its directory -> figures by name.
Figures = Callable[[ExperimentConfig, RunDirectory], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Run:
    """A training that is repeated with each seed, and its figures.

    Attributes:
      name: The run's name in the results.
      flagfile: The path of its flagfile below `configs/`.
      figures: Takes the figures of a run that has ended.
      flags: More flags, which count more than the flagfile's.
      data: The folder of its data below `--data`, if it has files.
      elsewhere: Trains as a config says, but with another's program, and gives
        the figures; `None` to train here.
    """

    name: str
    flagfile: str
    figures: Figures
    flags: Sequence[str] = ()
    data: str = ""
    elsewhere: Optional[Callable[[ExperimentConfig], Mapping[str, float]]] = (
        None
    )


@functools.cache
def _define_flags() -> None:
    experiment_flags.define_experiment_flags()


def config_of(run: Run, seed: int, data: str, folder: str) -> ExperimentConfig:
    """Reads the config of a run, as scripts/train.py would.

    Args:
      run: The run.
      seed: The value of --seed.
      data: The folder with the data sets' folders.
      folder: The run's directory.

    Raises:
      ConfigError: If a flag is not allowed; the message names it.
    """
    _define_flags()
    arguments = [
        f"--flagfile={os.path.join(ROOT, 'configs', run.flagfile)}",
        f"--output_dir={folder}",
        f"--seed={seed}",
        # Figures are all that remains of a run.
        *("--sinks=csv", "--finishers=none"),
        *run.flags,
    ]
    if run.data:
        arguments.append(f"--data_dir={os.path.join(data, run.data)}")
    with flagsaver.flagsaver():
        parsing.parse(["", *arguments])
        return experiment_flags.experiment_config()


def train(run: Run, seed: int, data: str) -> dict[str, float]:
    """Trains a run in a folder that is deleted afterwards.

    Args:
      run: The run.
      seed: The value of --seed.
      data: The folder with the data sets' folders.

    Returns:
      Its figures by name, and `seconds`, how long it took.

    Raises:
      PipelineError: If the run fails.
      KeyboardInterrupt: If a signal stopped it.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run")
        config = config_of(run, seed, data, path)
        if run.elsewhere is not None:
            figures = dict(run.elsewhere(config))
        elif experiment.run(config).interrupted_by is not None:
            raise KeyboardInterrupt  # Half a run has no figures.
        else:
            figures = dict(run.figures(config, RunDirectory(path)))
    return {**figures, "seconds": round(time.monotonic() - start, 1)}


def rows_of(directory: RunDirectory) -> list[Row]:
    """Reads the rows of a run's metrics.csv.

    Args:
      directory: The run's directory.
    """
    return list(metrics_file.read(directory.metrics))


def last(*columns: str) -> Figures:
    """Returns a function that takes columns' last values.

    Args:
      *columns: Names of columns of metrics.csv.
    """

    def figures(
        _: ExperimentConfig, directory: RunDirectory
    ) -> dict[str, float]:
        rows = rows_of(directory)
        return {
            name: [row[name] for row in rows if name in row][-1]
            for name in columns
        }

    return figures


def reached(
    rows: Sequence[Row], column: str, target: float, over: str = "round"
) -> float:
    """Finds where a column first reaches a target, as McMahan et al. 2017 do.

    The column is replaced by its running maximum, and interpolated linearly
    between the rows that have it.

    Args:
      rows: The rows of metrics.csv.
      column: The name of the column.
      target: The value to be reached.
      over: The column of what is counted, such as rounds.

    Returns:
      The value of `over` at that place; infinity if it is not reached.

    >>> rows = [{"round": 2, "a": 0.5}, {"round": 4, "a": 0.9}]
    >>> reached(rows, "a", 0.7)
    3.0
    """
    before = None
    for row in rows:
        if column not in row or over not in row:
            continue
        here, value = float(row[over]), float(row[column])
        if value >= target:
            if before is None:
                return here
            place, best = before
            return place + (here - place) * (target - best) / (value - best)
        if before is None or value > before[1]:
            before = here, value
        else:
            before = here, before[1]
    return float("inf")
