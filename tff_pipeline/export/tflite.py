"""TensorFlow Lite, for phones: whole numbers or fewer bits where wanted.

Its signature is called as in the SavedModel, its inputs and outputs too. What
is text in the SavedModel is not here: a model takes what it was trained on.
"""

import os
import sys
import tempfile
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import durable, errors, storage
from tff_pipeline.export import conversion, replay, saved_model, signatures
from tff_pipeline.export.papers import Papers
from tff_pipeline.tasks.task import Task

# Made-up inputs to find the ranges of activations with.
_CALIBRATION = 200


def float32(*arguments: Any) -> None:
    """Computes as the SavedModel does."""
    _write("float32", *arguments)


def float16(*arguments: Any) -> None:
    """Weights of 16 bits; half the size."""
    _write("float16", *arguments)


def dynamic_int8(*arguments: Any) -> None:
    """Weights of 8 bits, activations of 32; a quarter of the size."""
    _write("dynamic_int8", *arguments)


def int8(*arguments: Any) -> None:
    """Weights and activations of 8 bits, where there are such operations.

    Ranges of activations are found with made-up inputs, so that the model
    holds nothing of anybody's. Inputs and outputs stay as they are. Rows of
    numbers are as with `dynamic_int8`: 256 steps are too few for a tensor that
    holds amounts beside codes.
    """
    task = arguments[0]
    row = task.test.x.ndim == 2 and task.test.x.dtype.kind == "f"
    _write("dynamic_int8" if row else "int8", *arguments)


def _write(
    precision: str,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    papers: Optional[Papers],
) -> None:
    del papers
    model, _ = saved_model.restored(task, weights)
    # Recurrent layers become operations of their own if the batch is known.
    sizes: list[Optional[int]] = [1] if _recurrent(model) else [None, 1]
    with tempfile.TemporaryDirectory() as folder:
        written = os.path.join(folder, "model.tflite")
        samples = os.path.join(folder, "samples.npz")
        (name,) = signatures.encoded_specs(task)
        inputs = replay.encoded_inputs(task, _CALIBRATION, seed=1)
        np.savez(samples, **{name: inputs})
        for size in sizes:
            with conversion.numbers_only(task, model, size) as (given, key):
                command = [
                    *(sys.executable, "-m", "tff_pipeline.export.lite"),
                    *(precision, given, key, samples, written),
                ]
                try:
                    # Elsewhere, for the converter can end a process.
                    conversion.run(f"tflite ({precision})", task, command)
                    break
                except errors.ConfigError:
                    if size == sizes[-1]:
                        raise
        with durable.explained(path):
            parent = os.path.dirname(storage.absolute(path))
            storage.of(path).make_folder(parent)
        with open(written, "rb") as file:
            durable.write_bytes(path, file.read())
    conversion.write_replay(task, model, path)


def _recurrent(model: tf.keras.Model) -> bool:
    return any(
        isinstance(layer, (tf.keras.layers.RNN, tf.keras.layers.Bidirectional))
        for layer in model.submodules
    )
