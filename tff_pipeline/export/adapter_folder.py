"""Exports the low-rank adapter that a run has trained, as a folder of PEFT."""

from typing import Optional

import tensorflow_federated as tff

from tff_pipeline.export import card_text, model_card, samples
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.export.saved_model import restored
from tff_pipeline.models.pretrained import names
from tff_pipeline.models.transformer import adapter
from tff_pipeline.tasks.task import Task


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    folder: str,
    provenance: Optional[Provenance] = None,
) -> None:
    """Writes the adapter of a trained model; see `models.transformer.adapter`.

    Args:
      task: The task, which has `adapter_fn`.
      weights: The trained weights.
      folder: The folder; an older one is replaced.
      provenance: The facts of its run for its model card, README.md.

    Raises:
      RunDirectoryError: If it cannot be written, or the weights are not of the
        task's model.
    """
    model, _ = restored(task, weights)
    assert task.adapter_fn is not None
    architecture = model.transformer.architecture
    made = task.adapter_fn(model)
    head = {"base_model": made.base_source, "library_name": "peft"}
    texts = samples.written(model.transformer, task)
    stated = model_card.card(task, {}, provenance, model, texts)
    adapter.write(
        folder,
        made,
        architecture,
        names.family(architecture),
        readme=card_text.front_matter(head) + card_text.in_words(stated),
    )
