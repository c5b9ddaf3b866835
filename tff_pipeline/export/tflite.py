"""Converts to TensorFlow Lite, for phones: float32, float16 or int8.

The signature is called as in the SavedModel, its inputs and outputs too. Text
that the SavedModel takes is not here: a model takes what it was trained on.
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
    """Writes a model that computes as the SavedModel does.

    Args:
      *arguments: Task, weights, path, provenance, as every format takes.
    """
    _write("float32", *arguments)


def float16(*arguments: Any) -> None:
    """Writes a model with weights of 16 bits: half the size.

    Args:
      *arguments: Task, weights, path, provenance, as every format takes.
    """
    _write("float16", *arguments)


def dynamic_int8(*arguments: Any) -> None:
    """Writes a model with weights of 8 bits and activations of 32.

    It has a quarter of the size.

    Args:
      *arguments: Task, weights, path, provenance, as every format takes.
    """
    _write("dynamic_int8", *arguments)


def int8(*arguments: Any) -> None:
    """Writes a model with weights and activations of 8 bits.

    Ranges of activations are found with made-up inputs, so that the model holds
    nothing of anybody's. Inputs and outputs stay as they are, and so do
    operations that TensorFlow Lite does not have in 8 bits. Some models are as
    with `dynamic_int8`; see `_keeps_floats`.

    Args:
      *arguments: Task, weights, path, provenance, as every format takes.
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
            with conversion.numbers_only(task, model, size) as (saved, key):
                command = [
                    *(sys.executable, "-m", "tff_pipeline.export.lite"),
                    *(precision, saved, key, samples, written),
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
    """Returns whether activations of 8 bits would spoil this model.

    They spoil rows of numbers, for 256 steps are too few for a tensor that
    holds amounts beside codes; waveforms, whose range is wide; layers that
    normalise by what they compute of one example; and recurrent layers that
    TensorFlow Lite has no operation for, all but the LSTM: finding the ranges
    in their loop ends the converter.
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
    """Returns whether a layer of one of these kinds is in the model."""
    return any(isinstance(layer, kinds) for layer in model.submodules)
