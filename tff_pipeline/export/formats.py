"""Writes a trained model in any of the formats of `registry.FORMATS`."""

import os
from collections.abc import Sequence
from typing import Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors, registry
from tff_pipeline.export import conversion, replay, saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.models.transformer.language_model import LanguageModel
from tff_pipeline.tasks.task import Task

# How a file's name ends, where a format is a file.
_ENDINGS = {"keras": ".keras", "onnx": ".onnx"}


def path_of(
    kind: str, output: str, formats: Sequence[str], version: Optional[int]
) -> str:
    """Returns the file or folder that a format is written to.

    With several formats `output` is the folder that holds all of them:

    >>> path_of("keras", "out", ["keras", "tflite_int8"], None)
    'out/model.keras'
    >>> path_of("tflite_int8", "out", ["keras", "tflite_int8"], None)
    'out/model_int8.tflite'
    >>> path_of("saved_model", "digits", ["saved_model"], 3)
    'digits/3'

    Args:
      kind: The format.
      output: The value of --output.
      formats: All formats that are written.
      version: The version of a SavedModel that TF Serving is to find.

    Returns:
      The path.
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
    """Writes a model in a format.

    Args:
      kind: One of `registry.FORMATS`.
      task: Whose model it is.
      weights: The trained weights.
      path: The file or folder to write.
      overwrite: Whether to replace what is there.
      provenance: The facts of its run for the model card.

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
    """Writes a SavedModel; see `saved_model.export`.

    Args:
      task: Whose model it is.
      weights: The trained weights.
      path: The folder to write; it is replaced.
      provenance: The facts of its run for the model card.
    """
    saved_model.export(task, weights, path, True, provenance)


def keras(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """Writes the trained model as a .keras file, which takes encoded inputs.

    What encodes a text or a table's row is in the SavedModel alone.

    Args:
      task: Whose model it is.
      weights: The trained weights.
      path: The file to write; it is replaced.
      provenance: Not used, for the file has no place for it.

    Raises:
      ConfigError: If it is a language model.
      RunDirectoryError: If it cannot be written.
    """
    del provenance
    model, _ = saved_model.restored(task, weights)
    if isinstance(model, LanguageModel):
        raise errors.ConfigError(
            "--format=keras cannot hold the language model of --task="
            f"{task.name}, whose class is this package's own; choose "
            "saved_model."
        )
    with conversion.new_file(path, ".keras") as written:
        model.save(written, save_format="keras")
    inputs = replay.encoded_inputs(task, replay.EXAMPLES)
    output = model(tf.constant(inputs), training=False).numpy()
    shown = {"inputs": {"input": inputs}, "outputs": {"output": output}}
    replay.write(replay.beside(path), {"model": shown})
