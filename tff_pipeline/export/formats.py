"""The formats that a trained model is exported in, and where they go."""

import os
from collections.abc import Sequence
from typing import Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import registry
from tff_pipeline.export import conversion, replay, saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.tasks.task import Task

# How a file's name ends, where a format is a file.
_ENDINGS = {"keras": ".keras", "onnx": ".onnx"}


def path_of(
    kind: str, output: str, formats: Sequence[str], version: Optional[int]
) -> str:
    """Where a format goes.

    Args:
      kind: The format.
      output: What --output says.
      formats: All that are written.
      version: Of a SavedModel that TF Serving is to find.
    """
    path = output
    if len(formats) > 1:
        ending = _ENDINGS.get(kind, ".tflite" if "tflite" in kind else "")
        name = kind.replace("tflite_", "model_") if ending else kind
        name = "model" if kind in ("keras", "onnx", "tflite") else name
        path = os.path.join(output, name + ending)
    if kind == "saved_model" and version is not None:
        path = os.path.join(path, str(version))
    return path


def write(
    kind: str,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    overwrite: bool = False,
    provenance: Optional[Provenance] = None,
) -> None:
    """Writes the model in a format.

    Raises:
      RunDirectoryError: If `path` exists, or cannot be written.
      ConfigError: If what converts it is not installed, or cannot.
    """
    saved_model.refuse_existing(path, overwrite)
    registry.load(kind, registry.FORMATS)(task, weights, path, provenance)


def saved(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """A SavedModel; see `saved_model.export`."""
    saved_model.export(task, weights, path, True, provenance)


def keras(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """The trained model as a .keras file, which takes encoded inputs.

    What a text or a table's row is encoded by is in the SavedModel alone.
    """
    del provenance
    model, _ = saved_model.restored(task, weights)
    with conversion.new_file(path, ".keras") as written:
        model.save(written, save_format="keras")
    inputs = replay.encoded_inputs(task, replay.EXAMPLES)
    output = model(tf.constant(inputs), training=False).numpy()
    shown = {"inputs": {"input": inputs}, "outputs": {"output": output}}
    replay.write(replay.beside(path), {"model": shown})
