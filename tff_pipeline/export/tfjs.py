"""Converts to TensorFlow.js: a graph model for browsers and Node.js."""

import json
import os
import shutil
import sys
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.export import conversion, saved_model, signatures
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.files import durable
from tff_pipeline.tasks.task import Task

_CONVERTER = "tensorflowjs_converter"


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """Writes model.json, its weights and the replay into a folder.

    Args:
      task: Whose model it is.
      weights: The trained weights.
      path: The folder to write; it is replaced.
      provenance: Not used, for the format has no place for it.

    Raises:
      ConfigError: If tensorflowjs is not installed, or cannot convert it.
      RunDirectoryError: If the folder cannot be written.
    """
    del provenance
    # Beside this Python, or in an environment of its own.
    beside = os.path.join(os.path.dirname(sys.executable), _CONVERTER)
    converter = shutil.which(_CONVERTER) or shutil.which(beside)
    if converter is None:
        raise errors.ConfigError(
            f"--format=tfjs needs {_CONVERTER}; install tff-pipeline[tfjs], or "
            "tensorflowjs in an environment of its own that is on PATH."
        )
    model, _ = saved_model.restored(task, weights)
    with (
        conversion.numbers_only(task, model) as (saved, name),
        durable.folder(path, "model.json") as folder,
    ):
        conversion.run(
            "tfjs",
            task,
            [
                *(converter, "--input_format=tf_saved_model"),
                *(f"--signature_name={name}", saved, folder),
            ],
        )
        described = os.path.join(folder, "model.json")
        with open(described, encoding="utf-8") as file:
            graph = json.load(file)
        _name_outputs(graph, _output_names(task, model))
        _drop_waiting(graph)
        with open(described, "w", encoding="utf-8") as file:
            json.dump(graph, file)
        conversion.write_replay(task, model, folder)


def _output_names(task: Task, model: tf.keras.Model) -> list[str]:
    """Returns the outputs' names in the order of the function's results."""
    (function,) = signatures.numbers_only(task, model).values()
    return sorted(function.get_concrete_function().structured_outputs)


def _name_outputs(model: dict[str, Any], names: list[str]) -> None:
    """Calls outputs as the signature does; the converter forgets most names.

    What it calls Identity, Identity_1 and so on are the function's results.
    """
    outputs = {}
    for each in model["signature"]["outputs"].values():
        number = each["name"].partition(":")[0].rpartition("_")[2]
        place = int(number) if number.isdecimal() else 0
        outputs[names[place]] = each
    model["signature"]["outputs"] = dict(sorted(outputs.items()))


def _drop_waiting(model: dict[str, Any]) -> None:
    """Lets nothing wait for operations whose results it does not take.

    A loop that reads variables is made to wait for the reading, in a way that
    TensorFlow.js never sees end; the variables are constants here, and nothing
    else in a model has an effect.
    """
    nodes = model["modelTopology"]["node"]
    nothing = {f"^{node['name']}" for node in nodes if node["op"] == "NoOp"}
    for node in nodes:
        if "input" in node:
            node["input"] = [i for i in node["input"] if i not in nothing]
