"""Writes the model card of an exported model into its `assets.extra/`.

model_card.json  what it is, what it was trained on and how well it does;
                 model_card.md has it in words (Mitchell et al. 2019)
config.json      the experiment
privacy.json     with differential privacy, what was promised and spent;
                 privacy.txt has it in words
classes.txt      the classes' names, a line each, in order
vocabulary.txt   the words or symbols that it knows, a line each
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline.export import card_text
from tff_pipeline.files import durable
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

# Clients, whose sizes may have to be read one by one.
_MOST_COUNTED = 10_000
_LIMITS = (
    "It was trained in a simulation of federated learning; on devices, who "
    "takes part is not drawn at random.",
    "Metrics are of the test sets named here; other people, devices and times "
    "may differ.",
)


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Holds what is known of the run that a model comes from.

    Attributes:
      config: The text of the run's config.json.
      round_number: The rounds that the model was trained for.
      state: The SHA-256 of the server's state in the run's log.
      metrics: The result of `evaluation.report`, or of the central test set
        alone.
      privacy: Texts of the privacy statement by file name; empty without one.
      travels: What left and reached a client in a round, a line each.
    """

    config: str
    round_number: int
    state: Optional[str]
    metrics: Mapping[str, Any]
    privacy: Mapping[str, str]
    travels: Sequence[str] = ()


def write(
    folder: str,
    task: Task,
    serving: Optional[tf.keras.Model],
    signatures: Mapping[str, Any],
    provenance: Optional[Provenance],
    trained: tf.keras.Model,
    samples: Sequence[Mapping[str, str]],
) -> None:
    """Writes the model card and the files beside it.

    Args:
      folder: The `assets.extra/` of a SavedModel.
      task: Whose model it is.
      serving: The model that takes raw inputs, if the task has one.
      signatures: The `tf.function`s of `signatures.build` by name.
      provenance: The facts of its run, if they are known.
      trained: The trained model, with its adapter if it has one.
      samples: Texts that it writes, see `samples`.

    Raises:
      RunDirectoryError: If they cannot be written.
    """
    texts = {}
    if task.classes:
        texts["classes.txt"] = _lines(task.classes)
    words = [] if serving is None else _vocabulary(serving)
    if words:
        texts["vocabulary.txt"] = _lines(words)
    stated = card(task, signatures, provenance, trained, samples)
    texts["model_card.json"] = json.dumps(stated, indent=2) + "\n"
    texts["model_card.md"] = card_text.in_words(stated)
    if provenance is not None:
        texts |= {"config.json": provenance.config, **provenance.privacy}
    for name, text in texts.items():
        durable.write_text(os.path.join(folder, name), text)


def card(
    task: Task,
    signatures: Mapping[str, Any],
    provenance: Optional[Provenance],
    trained: tf.keras.Model,
    samples: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Returns the model card as a JSON object.

    Args:
      task: Whose model it is.
      signatures: The `tf.function`s of `signatures.build` by name.
      provenance: The facts of its run, if they are known.
      trained: The trained model, with its adapter if it has one.
      samples: Texts that it writes, see `samples`.
    """
    stated: dict[str, Any] = {
        "task": task.name,
        "classes": list(task.classes),
        "labels": list(task.labels),
        "signatures": {
            name: _described(function) for name, function in signatures.items()
        },
        "data": {
            "training_clients": len(task.train),
            "training_examples": _training_examples(task),
            "test_examples": len(task.test),
            "validation_examples": 0
            if task.validation is None
            else len(task.validation),
        },
        "columns": [dataclasses.asdict(use) for use in task.columns],
        "notes": task.notes,
        "pixel_max": _pixel_max(task),
        "limits": list(_LIMITS),
    }
    if task.column_names:
        stated["column_names"] = dict(task.column_names)
    if task.form:
        stated["form"] = [dict(each) for each in task.form]
    if task.base is not None:
        stated["base"] = _base(task, trained)
    elif task.frozen_weights:
        stated["frozen"] = {
            "sha256": [each.sha256 for each in task.frozen_weights],
            **_sizes(trained),
        }
    if provenance is not None and _is_pruned(provenance):
        stated["pruned"] = _zeros(trained)
    if samples:
        stated["samples"] = list(map(dict, samples))
    if provenance is not None:
        stated |= {
            "rounds": provenance.round_number,
            "state_sha256": provenance.state,
            "metrics": _public(provenance.metrics),
            "differential_privacy": _statement(provenance).get(
                "private", False
            ),
            # Whole, for the card is often all that is handed on.
            "privacy": _statement(provenance) or None,
            "privacy_statement": provenance.privacy.get("privacy.txt"),
            "travels": list(provenance.travels),
        }
    return stated


def _base(task: Task, trained: tf.keras.Model) -> dict[str, Any]:
    """Says which model was there before, and what of it was trained."""
    assert task.base is not None
    stated: dict[str, Any] = {
        "source": task.base.source,
        "sha256": task.base.weights.sha256,
        **_sizes(trained),
        # What is said of privacy is said of the training here.
        "covered_by_privacy_statement": False,
    }
    if task.adapter_fn is not None:
        adapter = task.adapter_fn(trained)
        stated["adapter"] = {
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "matrices": len(adapter.modules),
        }
    return stated


def _sizes(trained: tf.keras.Model) -> dict[str, int]:
    """Counts the numbers that were trained, and all."""
    groups = {
        "trained_weights": weight_groups(trained).trainable,
        "weights": trained.variables,
    }
    return {
        name: sum(variable.shape.num_elements() for variable in variables)
        for name, variables in groups.items()
    }


def _is_pruned(provenance: Provenance) -> bool:
    pruning = json.loads(provenance.config).get("pruning", {})
    return pruning.get("to") is not None


def _zeros(trained: tf.keras.Model) -> dict[str, int]:
    """Counts the zeros among the weights that are pruned."""
    kernels = [
        variable.numpy()
        for variable in weight_groups(trained).trainable
        if len(variable.shape) > 1
    ]
    return {
        "zeros": sum(int(np.sum(kernel == 0)) for kernel in kernels),
        "weights": sum(kernel.size for kernel in kernels),
    }


def _statement(provenance: Provenance) -> dict[str, Any]:
    """Returns the privacy statement; empty without one."""
    return dict(json.loads(provenance.privacy.get("privacy.json", "{}")))


def _training_examples(task: Task) -> Optional[int]:
    """Counts the clients' examples, or returns `None` where that takes long."""
    ids = task.train.client_ids
    if len(ids) > _MOST_COUNTED:
        return None
    return sum(task.train.size(ids[place]) for place in range(len(ids)))


def _pixel_max(task: Task) -> Optional[int]:
    """Returns the brightest pixel, which the dtype of images does not say."""
    x = task.test.x
    return int(x.max()) if x.dtype == np.uint8 and x.ndim > 2 else None


def _public(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out single clients, who have no place in a model card."""
    return {
        name: value
        if name != "clients"
        else [
            {key: each[key] for key in ("which", "count", "metrics")}
            for each in value
        ]
        for name, value in metrics.items()
    }


def _described(function: Any) -> dict[str, Any]:
    concrete = function.get_concrete_function()
    return {
        "inputs": {
            spec.name: [spec.dtype.name, _shape(spec)]
            for spec in function.input_signature
        },
        "outputs": {
            name: [spec.dtype.name, _shape(spec)]
            for name, spec in concrete.structured_outputs.items()
        },
    }


def _shape(spec: Any) -> Optional[list[Optional[int]]]:
    return None if spec.shape.rank is None else spec.shape.as_list()


def _vocabulary(serving: tf.keras.Model) -> list[str]:
    return [
        word
        for layer in compat.all_layers(serving)
        if hasattr(layer, "get_vocabulary")
        for word in layer.get_vocabulary(include_special_tokens=False)
    ]


def _lines(names: Sequence[str]) -> str:
    # A name of several lines would count as several.
    return "".join(json.dumps(name)[1:-1] + "\n" for name in names)
