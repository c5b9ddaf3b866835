"""Evaluates, exports and reports the saved rounds of a run."""

import json
import math
import os
from collections.abc import Sequence
from typing import Any, Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.assembly import saved_weights
from tff_pipeline.assembly.task import evaluated_columns, load_saved_task
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.evaluation import over_clients
from tff_pipeline.evaluation.over_clients import WeightsOf
from tff_pipeline.export import formats as export_formats
from tff_pipeline.export import saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.files import durable, storage
from tff_pipeline.reporting.run_report import final_model, record
from tff_pipeline.reporting.run_report import report as run_report
from tff_pipeline.reporting.run_report.final_model import FinalModel
from tff_pipeline.runs import best, metrics_file
from tff_pipeline.runs.checkpoint import CheckpointName, CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.state_files import digest
from tff_pipeline.tasks.task import Task


def evaluate(
    run_dir: str,
    round_number: Optional[CheckpointName] = None,
    data_dir: Optional[str] = None,
    threshold: Optional[float] = None,
) -> tuple[str, dict[str, Any]]:
    """Evaluates a saved round, and writes the report into the run directory.

    Args:
      run_dir: The folder that `experiment.run` wrote.
      round_number: The checkpoint's round, or "best"; by default the last.
      data_dir: The task's data, if they have moved since.
      threshold: The probability above which the second of two classes is
        predicted; by default one half.

    Returns:
      (path of the JSON file, its content; see `over_clients.report`).

    Raises:
      ConfigError: If that round was not saved, or a threshold is given where
        there are not two classes.
      DataError: If the task's data are missing or damaged.
      RunDirectoryError: If there is no run, or it cannot be read or written.
    """
    directory = RunDirectory(run_dir)
    config, task, number, in_state = _loaded(directory, round_number, data_dir)
    with saved_weights.with_own(config, task, directory, number, in_state) as (
        weights,
        own,
    ):
        report = {
            "task": task.name,
            "round": number,
            **({"notes": task.notes} if task.notes else {}),
            **_report(config, task, round_number, weights, threshold, own),
        }
    folder = RunDirectory(run_dir).evaluations
    path = os.path.join(folder, f"round_{number:06d}.json")
    with durable.explained(folder):
        storage.file_system(folder).make_folder(folder)
    text = json.dumps(_legal(report), indent=2, allow_nan=False)
    durable.write_text(path, text + "\n")
    return path, report


def export(
    run_dir: str,
    output: str,
    round_number: Optional[CheckpointName] = None,
    data_dir: Optional[str] = None,
    client: Optional[str] = None,
    overwrite: bool = False,
    formats: Sequence[str] = ("saved_model",),
    version: Optional[int] = None,
) -> tuple[int, list[str]]:
    """Exports a saved round for others to serve.

    Args:
      run_dir: The folder that `experiment.run` wrote.
      output: The file or folder to write; with several formats the folder that
        holds them.
      round_number: The checkpoint's round, or "best"; by default the last.
      data_dir: The task's data, if they have moved since.
      client: The id of a client whose own model is exported; by default the
        model of all.
      overwrite: Whether to replace what is there.
      formats: Names of `registry.FORMATS`.
      version: The name of a folder for the SavedModel, as TF Serving needs it.

    Returns:
      (the round's number, the paths that were written).

    Raises:
      ConfigError: If that round was not saved, or a converter is missing.
      DataError: If the task's data are missing or damaged.
      RunDirectoryError: If there is no run, or a path exists already.
    """
    paths = [
        export_formats.path_of(kind, output, formats, version)
        for kind in formats
    ]
    # Before the data are read; each format looks again before it writes.
    for path in paths:
        saved_model.refuse_existing(path, overwrite)
    directory = RunDirectory(run_dir)
    task, number, weights = opened(run_dir, round_number, data_dir, client)
    config = directory.read_config()
    state = CheckpointStore(directory.checkpoints).check(number).state
    provenance = Provenance(
        config.to_json(),
        number,
        digest(state),
        {
            **_report(config, task, round_number, weights),
            **({"model": "the own model of one client"} if client else {}),
        },
        directory.privacy_statement(),
        directory.read_travels(),
    )
    for kind, path in zip(formats, paths):
        export_formats.write(kind, task, weights, path, overwrite, provenance)
    return number, paths


def report(run_dir: str, data_dir: Optional[str] = None) -> str:
    """Writes a run's report.html anew.

    Where its data or its last checkpoint are not to be had, the report is made
    of the run's files alone, and says so.

    Args:
      run_dir: The folder that `experiment.run` wrote.
      data_dir: The task's data, if they have moved since.

    Returns:
      The path of the report.

    Raises:
      RunDirectoryError: If there is no run, or it cannot be read or written.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config(data_dir)
    exact = record.tells_exactly(metrics_file.read(directory.metrics))
    model, missing = FinalModel(), None
    try:
        task, _, weights = opened(run_dir, data_dir=data_dir)
        model = final_model.look(config, task, weights, exact)
    except errors.PipelineError as error:
        missing = str(error)
    # The flags that the run was given, not where its data lie now.
    run_report.write(directory, directory.read_config(), model, missing)
    return directory.report


def _report(
    config: ExperimentConfig,
    task: Task,
    round_number: Optional[CheckpointName],
    weights: tff.learning.models.ModelWeights,
    threshold: Optional[float] = None,
    own: Optional[WeightsOf] = None,
) -> dict[str, Any]:
    """Evaluates a round, and says which model it is, and on what it was chosen.

    The first is said where the server trains no whole model, the second where
    the round is the best.
    """
    said = {}
    if config.algorithm.name in MODEL_OF_ALL:
        said["model"] = MODEL_OF_ALL[config.algorithm.name]
    if round_number == "best":
        metric = config.run.target_metric
        said["chosen"] = best.in_words(metric, evaluated_columns(task))
    return {**said, **over_clients.report(task, weights, threshold, own)}


def _legal(value: Any) -> Any:
    """Replaces numbers that JSON has no word for, as of a model that failed."""
    if isinstance(value, dict):
        return {name: _legal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_legal(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def opened(
    run_dir: str,
    round_number: Optional[CheckpointName] = None,
    data_dir: Optional[str] = None,
    client: Optional[str] = None,
) -> tuple[Task, int, tff.learning.models.ModelWeights]:
    """Loads the task of a run, and the weights of one checkpoint.

    Args:
      run_dir: The folder that `experiment.run` wrote.
      round_number: The checkpoint's round, or "best"; by default the last.
      data_dir: The task's data, if they have moved since.
      client: The id of a client, for its own weights; by default those of all.

    Returns:
      (the task, the round's number, the weights).

    Raises:
      ConfigError: If that round was not saved, or there is no such client.
      DataError: If the task's data are missing or damaged.
      RunDirectoryError: If there is no run, or it cannot be read.
    """
    directory = RunDirectory(run_dir)
    config, task, number, in_state = _loaded(directory, round_number, data_dir)
    weights = saved_weights.by_algorithm(
        config, task, directory, number, in_state, client
    )
    return task, number, weights


def _loaded(
    directory: RunDirectory,
    round_number: Optional[CheckpointName],
    data_dir: Optional[str],
) -> tuple[ExperimentConfig, Task, int, tff.learning.models.ModelWeights]:
    """Loads a run's config and task, and the weights in a checkpoint's state.

    Returns:
      (the config, the task, the round's number, the weights).
    """
    config = directory.read_config(data_dir)
    store = CheckpointStore(directory.checkpoints)
    number, in_state = store.load_weights(round_number)
    task = load_saved_task(config, directory)
    return config, task, number, in_state
