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

from tff_pipeline import errors
from tff_pipeline.export import conversion, replay, saved_model, signatures
from tff_pipeline.export.model_card import Provenance
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
    holds nothing of anybody's. Inputs and outputs stay as they are. Some
    models are as with `dynamic_int8`; see `_keeps_floats`.
    """
    _write("int8", *arguments)


def _write(
    precision: str,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    del provenance
    model, _ = saved_model.restored(task, weights)
    if precision == "int8" and _keeps_floats(task, model):
        precision = "dynamic_int8"
    # Recurrent layers become operations of their own if the batch is known.
    sizes: list[Optional[int]] = (
        [1] if _has(model, tf.keras.layers.RNN) else [None, 1]
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        conversion.new_file(path, ".tflite") as written,
    ):
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
    conversion.write_replay(task, model, path)


def _keeps_floats(task: Task, model: tf.keras.Model) -> bool:
    """Whether activations of 8 bits are not for this model.

    Rows of numbers are not, for 256 steps are too few for a tensor that holds
    amounts beside codes; nor are waveforms, whose range is wide; nor layers
    that normalise by what they compute of one example; nor recurrent layers
    that TensorFlow Lite has no operation for, all but the LSTM: finding the
    ranges in their loop ends the converter.
    """
    x = task.test.x
    rows = x.ndim == 2 and x.dtype in (np.float32, np.float64, np.int16)
    normalised = _has(
        model,
        tf.keras.layers.GroupNormalization,
        tf.keras.layers.LayerNormalization,
    )
    loops = any(
        isinstance(layer, tf.keras.layers.RNN)
        and not isinstance(layer, tf.keras.layers.LSTM)
        for layer in model.submodules
    )
    return rows or normalised or loops


def _has(model: tf.keras.Model, *kinds: type) -> bool:
    """Whether a layer of one of these kinds is in it."""
    return any(isinstance(layer, kinds) for layer in model.submodules)
