"""Freezes the weights that `--freeze` chooses, in the folder of the run.

Federated transfer: the first layers of a model that was trained elsewhere stay
as they are, and the last ones are trained by clients. What is frozen lies in
`frozen/` of the run directory, from where every process maps it; a run is
moved, evaluated and exported with it, and needs no `--init_from` for that.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy.typing as npt
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.models import (
    freezing,
    frozen_files,
    name_patterns,
    stored_weights,
)
from tff_pipeline.models.frozen_files import FrozenWeights
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


def frozen(
    task: Task,
    config: ExperimentConfig,
    first: tff.learning.models.ModelWeights,
    overwrite: bool,
) -> Task:
    """Returns the task with weights frozen, and writes these into the run.

    Args:
      task: The task, none of whose weights are frozen by `--freeze` yet.
      config: The experiment; `--freeze` and `--output_dir` are set.
      first: The model's first weights.
      overwrite: Whether those of a run that is in the folder are replaced.

    Raises:
      ConfigError: If `--freeze` chooses none of the weights, or all that train,
        the model updates one of them, or another run is in the folder.
      RunDirectoryError: If the run that is there froze others, or the folder
        cannot be written.
    """
    pattern = str(config.data.model.freeze)
    values = dict(zip(_names(task), [*first.trainable, *first.non_trainable]))
    arrays = {name: values[name] for name in chosen(task, pattern)}
    directory = RunDirectory(str(config.run.output_dir))
    resumes = storage.exists(directory.config) and not overwrite
    if resumes:
        directory.check_same(config)
    held = _held(directory, arrays) if resumes else None
    if held is None:
        storage.remove_any(directory.frozen)
        held = frozen_files.store(directory.frozen, arrays)
    made = _with(task, held, pattern)
    with _without_traceback():
        # What a layer changes as it is trained is refused as this is computed.
        made.build_model()(made.blank(), training=True)
    return made


def of_run(task: Task, directory: RunDirectory) -> Task:
    """Returns the task of a run with the weights that it has frozen.

    Args:
      task: The run's task, as its data and its model make it.
      directory: The run directory.

    Raises:
      ConfigError: If one of them is no weight of the model.
      DataError: If they are damaged.
      RunDirectoryError: If they are missing.
    """
    held = stored_weights.frozen_by_run(directory)
    if held is None:
        return task
    return _with(task, held, str(directory.read_config().data.model.freeze))


def chosen(task: Task, pattern: str) -> list[str]:
    """Returns the names of the weights that `--freeze` chooses.

    Args:
      task: The task, none of whose weights are frozen by `--freeze` yet.
      pattern: The value of `--freeze`.

    Raises:
      ConfigError: If it chooses none, or all that train.
    """
    trained = task.weight_names["trainable"]
    names = _names(task)
    places = name_patterns.matching(names, pattern)
    if not places:
        raise errors.ConfigError(
            f"--freeze={pattern} is found in none of the names of the model's "
            f"weights; they are: {name_patterns.listed(names)}."
        )
    if not set(range(len(trained))) - set(places):
        raise errors.ConfigError(
            f"--freeze={pattern} leaves nothing to train, for it is found in "
            "the names of all weights that do; they are: "
            f"{name_patterns.listed(trained)}."
        )
    return [names[place] for place in places]


def _names(task: Task) -> list[str]:
    return [
        *task.weight_names["trainable"],
        *task.weight_names["non_trainable"],
    ]


def _held(
    directory: RunDirectory, arrays: Mapping[str, Array]
) -> Optional[FrozenWeights]:
    """Loads what a run that goes on has frozen; `None` if it is missing."""
    if not storage.exists(directory.frozen):
        return None
    held = frozen_files.load(directory.frozen)
    if {name: array.sha256 for name, array in held.arrays.items()} != {
        name: frozen_files.hash_of(name, array)
        for name, array in arrays.items()
    }:
        raise errors.RunDirectoryError(
            f"Since the run in {directory.path} began the weights changed that "
            "it freezes, by --init_from or the model's code; restore them, or "
            "start again with --overwrite."
        )
    return held


def _with(task: Task, held: FrozenWeights, pattern: str) -> Task:
    """Returns a task whose model has these weights frozen."""
    weights = len(_names(task))
    sizes = [math.prod(array.shape) for array in held.arrays.values()]
    with _without_traceback():
        model_fn = freezing.freeze(task.build_model, held)
        words = (
            f"Frozen by --freeze={pattern}, neither trained nor sent: "
            f"{len(sizes)} of {weights} weights of the model ({sum(sizes):,} "
            f"of {model_fn().count_params():,} numbers), "
            f"{name_patterns.listed(list(held.arrays))}."
        )
        return dataclasses.replace(
            task, model_fn=model_fn, notes=f"{task.notes} {words}".strip()
        )


@contextlib.contextmanager
def _without_traceback() -> Iterator[None]:
    """Raises an error anew as it was, before Keras wrote its own around it."""
    try:
        yield
    except Exception as error:  # Of several classes, one around the other.
        first: BaseException = error
        while first.__context__ is not None:
            first = first.__context__
        if isinstance(first, errors.PipelineError):
            raise first from None
        raise
