"""ONNX, by tf2onnx: inputs and outputs as the SavedModel's, numbers alone."""

import importlib.util
import sys
from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.export import conversion, saved_model
from tff_pipeline.export.papers import Papers
from tff_pipeline.tasks.task import Task

_OPSET = "17"


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    papers: Optional[Papers],
) -> None:
    """Writes the model and its replay.

    Raises:
      ConfigError: If tf2onnx is not installed, or cannot convert it.
    """
    del papers
    if importlib.util.find_spec("tf2onnx") is None:
        raise errors.ConfigError(
            "--format=onnx needs tf2onnx; install tff-pipeline[onnx]."
        )
    model, _ = saved_model.restored(task, weights)
    with (
        conversion.numbers_only(task, model) as (given, name),
        conversion.new_file(path, ".onnx") as written,
    ):
        conversion.run(
            "onnx",
            task,
            [
                *(sys.executable, "-m", "tf2onnx.convert"),
                *("--saved-model", given, "--signature_def", name),
                *("--opset", _OPSET, "--output", written),
            ],
        )
    conversion.write_replay(task, model, path)
