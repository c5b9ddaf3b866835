"""Writes a language model as a folder that Hugging Face's libraries load."""

from collections.abc import Iterator, Mapping
from typing import Any, Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.export import card_text, model_card, samples, saved_model
from tff_pipeline.export.model_card import Provenance
from tff_pipeline.models.pretrained import write_huggingface
from tff_pipeline.models.transformer.language_model import LanguageModel
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.tasks.task import Task


def write(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    path: str,
    provenance: Optional[Provenance],
) -> None:
    """Writes a language model with its tokenizer and its model card.

    An adapter is added to its base's weights, so that the folder needs neither.

    Args:
      task: Whose model it is.
      weights: The trained weights.
      path: The folder to write; it is replaced.
      provenance: The facts of its run for the model card.

    Raises:
      ConfigError: If it is no language model.
      DataError: If no model of Hugging Face's has its architecture.
      RunDirectoryError: If it cannot be written.
    """
    trained, _ = saved_model.restored(task, weights)
    if not isinstance(trained, LanguageModel):
        raise errors.ConfigError(
            f"--format=huggingface is for language models, and --task="
            f"{task.name} trains another; choose saved_model or keras."
        )
    model = trained
    if task.merged_fn is not None:
        model = task.merged_fn(trained)
    tokenizer = None
    if task.base is not None and task.base.tokenizer is not None:
        with open(task.base.tokenizer, "rb") as file:
            tokenizer = file.read()
    write_huggingface.write(
        path,
        _Weights(model.transformer),
        model.transformer.architecture,
        tokenizer=tokenizer,
        settings=None if task.base is None else task.base.settings,
        readme=_readme(task, trained, model.transformer, provenance),
    )


def _readme(
    task: Task,
    trained: LanguageModel,
    network: Transformer,
    provenance: Optional[Provenance],
) -> str:
    texts = samples.written(network, task)
    stated = model_card.card(task, {}, provenance, trained, texts)
    head = {"pipeline_tag": "text-generation", "library_name": "transformers"}
    return card_text.front_matter(head) + card_text.in_words(stated)


class _Weights(Mapping[str, Any]):
    """Reads a transformer's weights by name, one at a time."""

    def __init__(self, network: Transformer):
        self._network = network

    def __getitem__(self, name: str) -> Any:
        return self._network.numbers(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._network.architecture.weight_shapes())

    def __len__(self) -> int:
        return len(self._network.architecture.weight_shapes())
