"""Writes the Keras SavedModel, with names that stay the same between runs."""

import hashlib
import os
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.datasets import text_files
from tff_pipeline.export import (
    model_card,
    replay,
    samples,
    signatures,
    warm_up,
)
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.files import durable, storage
from tff_pipeline.models.transformer import adapter
from tff_pipeline.models.transformer.architecture import split_name
from tff_pipeline.models.transformer.base import PREFIX, Stacked
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

# Without this file TensorFlow takes a folder for no SavedModel.
MARKER = "saved_model.pb"


@compat.without_rewriting()
def export(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    overwrite: bool = False,
    provenance: Optional[Provenance] = None,
) -> None:
    """Writes the task's model with `weights` as a Keras SavedModel.

    `signatures` says what it can be asked. `serving_default` takes the task's
    raw inputs by name, each of shape [batch, ...], any batch size, and gives
    what `task.outputs_fn` says: for classes `logits` and `probabilities`
    (float32 [batch, classes]) and `class_id` (int64 [batch]).
    `tf.keras.models.load_model(path)` gives the Keras model back; plain
    TensorFlow is enough for either.

    An adapter is added to the base that it was trained for, and is not told
    from it in what is written.

    `assets.extra/` holds its model card, the names of classes and words, a
    replay (synthetic inputs and the model's outputs for them), TF Serving's
    warm-up requests, and the tokenizer of a pretrained language model.

    Args:
      task: Whose model it is.
      weights: What it has learned.
      path: The folder to write.
      overwrite: Whether a folder that is there is replaced.
      provenance: What to say of the run that it is of.

    Raises:
      RunDirectoryError: If `path` exists or cannot be written, or something in
        the model was not taken from `weights`; what was there is then as
        before.
    """
    refuse_existing(path, overwrite)
    trained, serving = restored(task, weights)
    model = trained
    if task.merged_fn is not None:
        model = task.merged_fn(trained)
        serving = _serving(task, model)
    functions = signatures.build(task, model, serving)
    root = serving if serving is not None else model
    with durable.folder(path, MARKER) as folder:
        try:
            root.save(
                folder,
                save_format="tf",
                include_optimizer=False,
                signatures=functions,
            )
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
        _check_saved(folder, task, weights, _merged(task, trained))
        _set_methods(folder, functions)
        extra = os.path.join(folder, "assets.extra")
        os.makedirs(extra, exist_ok=True)
        replayed = replay.record(task, serving, functions)
        replay.write(os.path.join(extra, replay.FILE), replayed)
        warm_up.write(extra, replayed)
        _write_tokenizer(extra, task)
        model_card.write(
            extra,
            task,
            serving,
            functions,
            provenance,
            trained,
            samples.replayed(task, replayed),
        )


def refuse_existing(path: str, overwrite: bool) -> None:
    """Refuses to write over what is there.

    Args:
      path: The file or folder to write.
      overwrite: Whether it may be replaced.

    Raises:
      RunDirectoryError: If `path` exists and must stay.
    """
    if storage.exists(path) and not overwrite:
        raise errors.RunDirectoryError(
            f"{path} exists; give another --output, or --overwrite to replace "
            "it."
        )


def restored(
    task: Task, weights: tff.learning.models.ModelWeights
) -> tuple[tf.keras.Model, Optional[tf.keras.Model]]:
    """Builds the model with its trained weights, and the one around it.

    Args:
      task: Whose model it is.
      weights: The trained weights.

    Returns:
      (the trained model; the model of raw inputs around it, or `None`).

    Raises:
      RunDirectoryError: If a variable of either is not of `weights`; it is
        named.
    """
    model = task.build_model()
    sent = weight_groups(model).sent
    for kind in ("trainable", "non_trainable"):
        variables = getattr(sent, kind)
        values = list(getattr(weights, kind))
        for number, variable in enumerate(variables):
            if number >= len(values) or (
                tuple(variable.shape) != np.shape(values[number])
            ):
                raise errors.RunDirectoryError(
                    f"The model's variable {variable.name} of shape "
                    f"{tuple(variable.shape)} is not in the server's state; "
                    "export with the task and the model that were trained."
                )
        if len(values) > len(variables):
            raise errors.RunDirectoryError(
                f"The server's state has {len(values)} {kind} variables and "
                f"the model {len(variables)}; export with the task and the "
                "model that were trained."
            )
    for variable, value in zip(
        [*sent.trainable, *sent.non_trainable],
        [*weights.trainable, *weights.non_trainable],
    ):
        variable.assign(value)
    return model, _serving(task, model)


def _serving(task: Task, model: tf.keras.Model) -> Optional[tf.keras.Model]:
    """Builds the model of raw inputs around a trained one, if there is one."""
    if task.serving_fn is None:
        return None
    serving = task.serving_fn(model)
    trained = {id(variable) for variable in model.variables}
    for variable in serving.variables:
        if id(variable) not in trained:
            raise errors.RunDirectoryError(
                f"The variable {variable.name} of the exported model was not "
                "trained: it is none of the server's state."
            )
    return serving


# Arrays by shape and SHA-256.
_Known = set[tuple[tuple[int, ...], str]]


def _merged(task: Task, trained: tf.keras.Model) -> _Known:
    """Computes the weights of the base that the adapter is added to."""
    if task.merged_fn is None or task.adapter_fn is None or task.base is None:
        return set()
    made = task.adapter_fn(trained)
    weights = Stacked(
        adapter.merged(task.base.arrays(), made), task.base.architecture
    )
    names = {f"{PREFIX}{split_name(name)[1]}.kernel" for name in made.modules}
    return {
        (array.shape, hashlib.sha256(array.tobytes()).hexdigest())
        for array in (weights[name] for name in names)
    }


def _check_saved(
    folder: str,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    merged: _Known,
) -> None:
    """Checks that all numbers on disk are of the server's state, or frozen.

    Args:
      folder: The SavedModel.
      task: Whose model it is.
      weights: The server's state.
      merged: Frozen weights with the server's adapter added to them.

    Raises:
      RunDirectoryError: If a variable is none of these.
    """
    values = [*weights.trainable, *weights.non_trainable]
    known = {(np.shape(v), np.asarray(v).tobytes()) for v in values}
    frozen = {
        (array.shape, array.sha256)
        for frozen_weights in task.frozen_weights
        for array in frozen_weights.arrays.values()
    } | merged
    reader = tf.train.load_checkpoint(
        os.path.join(folder, "variables", "variables")
    )
    for name, dtype in reader.get_variable_to_dtype_map().items():
        if not dtype.is_floating:
            continue
        value = reader.get_tensor(name)
        content = value.tobytes()
        if (value.shape, content) in known:
            continue
        if (value.shape, hashlib.sha256(content).hexdigest()) not in frozen:
            raise errors.RunDirectoryError(
                f"The saved variable {name} is neither of the server's state "
                "nor of the model's frozen weights, so nothing was exported."
            )


def _write_tokenizer(folder: str, task: Task) -> None:
    """Lays a pretrained model's tokenizer beside what takes its ids."""
    if task.base is None or task.base.tokenizer is None:
        return
    with open(task.base.tokenizer, "rb") as file:
        content = file.read()
    text_files.write(
        folder,
        content,
        task.base.settings,
        chat_template=task.base.settings.chat_template,
        positions=task.base.architecture.max_length,
    )


def _set_methods(folder: str, functions: dict[str, Any]) -> None:
    """Names the API of TF Serving that `predict_examples` is for."""
    method = signatures.method_of(
        functions["serving_default"].get_concrete_function().structured_outputs
    )
    if method is None:
        return
    compat.set_signature_method(folder, "predict_examples", method)
