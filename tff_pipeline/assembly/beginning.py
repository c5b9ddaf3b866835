"""Lets a model begin with the weights of another, for `--init_from`."""

import dataclasses

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.models import initial_weights, stored_weights
from tff_pipeline.models.transformer.base import PREFIX
from tff_pipeline.tasks.task import Task

# The key of `Task.begins_with` for the weights of `--init_from`.
STORED = "--init_from"


def begun(task: Task, config: ExperimentConfig) -> Task:
    """Returns the task whose model begins with the weights of `--init_from`.

    Those of a run on a pretrained transformer are in the task's base already;
    of it only the weights beside the transformer are taken, such as an
    encoder's last layer.

    Args:
      task: The task.
      config: The experiment that it is of.

    Returns:
      The task with `initial_values`, and notes of what has a match; the task
      itself if `--init_from` names no weights.

    Raises:
      ConfigError: If `--init_from` names nothing that weights are read from, or
        the run's own folder, or if no weight has a match.
      DataError: If it is damaged, or has no weights with names.
      RunDirectoryError: If it is a run without a checkpoint.
    """
    init_from, own = config.data.model.init_from, config.run.output_dir
    if init_from is None:
        return task
    if own is not None and storage.absolute(own) == storage.absolute(init_from):
        raise errors.ConfigError(
            f"--init_from={init_from} is --output_dir too; give another "
            "--output_dir, or leave --init_from out to go on with that run."
        )
    leave_out = ""
    if config.data.stands_on_base:
        if not stored_weights.is_run(init_from):
            return task
        leave_out = PREFIX
    stored = {
        name: array
        for name, array in stored_weights.read(init_from).items()
        if not (leave_out and name.startswith(leave_out))
    }
    if not stored:
        return task
    found = initial_weights.match(
        task.build_model(), stored, init_from, leave_out
    )
    return dataclasses.replace(
        task,
        initial_values=found.values,
        begins_with={**task.begins_with, STORED: found.sha256},
        notes=f"{task.notes} {found.words}".strip(),
    )
