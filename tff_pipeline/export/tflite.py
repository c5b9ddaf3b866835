"""TensorFlow Lite, for phones: whole numbers or fewer bits where wanted.

Its signature is called as in the SavedModel, its inputs and outputs too. What
is text in the SavedModel is not here: a model takes what it was trained on.
"""

from collections.abc import Callable, Iterator
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import durable
from tff_pipeline.export import conversion, replay, saved_model, signatures
from tff_pipeline.export.papers import Papers
from tff_pipeline.tasks.task import Task

# Made-up inputs to find the ranges of activations with.
_CALIBRATION = 200

Configure = Callable[[Any, Task], None]


def float32(*arguments: Any) -> None:
    """Computes as the SavedModel does."""
    _write(lambda converter, task: None, *arguments)


def float16(*arguments: Any) -> None:
    """Weights of 16 bits; half the size."""

    def configure(converter: Any, _: Task) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

    _write(configure, *arguments)


def dynamic_int8(*arguments: Any) -> None:
    """Weights of 8 bits, activations of 32; a quarter of the size."""

    def configure(converter: Any, _: Task) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    _write(configure, *arguments)


def int8(*arguments: Any) -> None:
    """Weights and activations of 8 bits, where there are such operations.

    Ranges of activations are found with made-up inputs, so that the model
    holds nothing of anybody's. Inputs and outputs stay as they are.
    """

    def configure(converter: Any, task: Task) -> None:
        inputs = replay.encoded_inputs(task, _CALIBRATION, seed=1)
        (name,) = signatures.encoded_specs(task)

        def samples() -> Iterator[dict[str, Any]]:
            for row in inputs:
                yield {name: row[None]}

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]

    _write(configure, *arguments)


def _write(
    configure: Configure,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    papers: Optional[Papers],
) -> None:
    del papers
    model, _ = saved_model.restored(task, weights)
    # Recurrent layers become operations of their own if the batch is known.
    sizes: list[Optional[int]] = [1] if _recurrent(model) else [None, 1]
    for batch_size in sizes:
        try:
            content = _converted(configure, task, model, batch_size)
            break
        except Exception as error:  # The converter raises anything.
            if batch_size == sizes[-1]:
                raise conversion.refusal("tflite", task, str(error)) from error
    durable.write_bytes(path, content)
    conversion.write_replay(task, model, path)


def _converted(
    configure: Configure,
    task: Task,
    model: tf.keras.Model,
    batch_size: Optional[int],
) -> bytes:
    with conversion.numbers_only(task, model, batch_size) as (path, name):
        converter = tf.lite.TFLiteConverter.from_saved_model(
            path, signature_keys=[name]
        )
        configure(converter, task)
        return converter.convert()


def _recurrent(model: tf.keras.Model) -> bool:
    return any(
        isinstance(layer, (tf.keras.layers.RNN, tf.keras.layers.Bidirectional))
        for layer in model.submodules
    )
