"""Exports the low-rank adapter that a run has trained, as a folder of PEFT."""

import tensorflow_federated as tff

from tff_pipeline.export.saved_model import restored
from tff_pipeline.models.pretrained import names
from tff_pipeline.models.transformer import adapter
from tff_pipeline.tasks.task import Task


def write(
    task: Task, weights: tff.learning.models.ModelWeights, folder: str
) -> None:
    """Writes the adapter of a trained model; see `models.transformer.adapter`.

    Args:
      task: The task, which has `adapter_fn`.
      weights: The trained weights.
      folder: The folder; an older one is replaced.

    Raises:
      RunDirectoryError: If it cannot be written, or the weights are not of the
        task's model.
    """
    model, _ = restored(task, weights)
    assert task.adapter_fn is not None
    architecture = model.transformer.architecture
    adapter.write(
        folder,
        task.adapter_fn(model),
        architecture,
        names.family(architecture),
    )
