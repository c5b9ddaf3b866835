"""Converts to ONNX by tf2onnx: the SavedModel's names, numbers alone."""

import importlib.util
import sys
from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.export import conversion, saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.tasks.task import Task

_OPSET = "17"


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """Writes the model as ONNX, and its replay beside it.

    Args:
      task: Whose model it is.
      weights: The trained weights.
      path: The file to write; it is replaced.
      provenance: Not used, for the file has no place for it.

    Raises:
      ConfigError: If tf2onnx is not installed, or cannot convert the model.
      RunDirectoryError: If the file cannot be written.
    """
    del provenance
    if importlib.util.find_spec("tf2onnx") is None:
        raise errors.ConfigError(
            "--format=onnx needs tf2onnx; install tff-pipeline[onnx]."
        )
    model, _ = saved_model.restored(task, weights)
    with (
        conversion.numbers_only(task, model) as (saved, name),
        conversion.new_file(path, ".onnx") as written,
    ):
        conversion.run(
            "onnx",
            task,
            [
                *(sys.executable, "-m", "tf2onnx.convert"),
                *("--saved-model", saved, "--signature_def", name),
                *("--opset", _OPSET, "--output", written),
            ],
        )
        _add_up(written)
    conversion.write_replay(task, model, path)


def _add_up(path: str) -> None:
    """Mends tf2onnx's translation of `tf.scatter_nd`.

    Where several values go to one place TensorFlow adds them up, and of what
    tf2onnx writes the last one stays: it fills zeros in, but does not add.
    """
    import onnx

    model = onnx.load(path)
    made_by = {name: n.op_type for n in model.graph.node for name in n.output}
    for node in model.graph.node:
        onto = made_by.get(node.input[0]) if node.input else None
        if node.op_type == "ScatterND" and onto == "ConstantOfShape":
            node.attribute.append(
                onnx.helper.make_attribute("reduction", "add")
            )
    onnx.save(model, path)
