"""TensorFlow.js, by tensorflowjs: a graph model for browsers and Node."""

import os
import shutil
import sys
from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import durable, errors
from tff_pipeline.export import conversion, saved_model
from tff_pipeline.export.papers import Papers
from tff_pipeline.tasks.task import Task

_CONVERTER = "tensorflowjs_converter"


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    papers: Optional[Papers],
) -> None:
    """Writes model.json, its weights and the replay into a folder.

    Raises:
      ConfigError: If tensorflowjs is not installed, or cannot convert it.
    """
    del papers
    # Beside this Python, or in an environment of its own.
    beside = os.path.join(os.path.dirname(sys.executable), _CONVERTER)
    found_at = shutil.which(_CONVERTER) or shutil.which(beside)
    if found_at is None:
        raise errors.ConfigError(
            f"--format=tfjs needs {_CONVERTER}; install tff-pipeline[tfjs], or "
            "tensorflowjs in an environment of its own that is on PATH."
        )
    model, _ = saved_model.restored(task, weights)
    with (
        conversion.numbers_only(task, model) as (given, name),
        durable.folder(path, "model.json") as folder,
    ):
        conversion.run(
            "tfjs",
            task,
            [
                *(found_at, "--input_format=tf_saved_model"),
                *(f"--signature_name={name}", given, folder),
            ],
        )
        conversion.write_replay(task, model, folder)
