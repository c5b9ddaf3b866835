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

from tff_pipeline.files import durable
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
    """

    config: str
    round_number: int
    state: Optional[str]
    metrics: Mapping[str, Any]
    privacy: Mapping[str, str]


def write(
    folder: str,
    task: Task,
    serving: Optional[tf.keras.Model],
    signatures: Mapping[str, Any],
    provenance: Optional[Provenance],
) -> None:
    """Writes the model card and the files beside it.

    Args:
      folder: The `assets.extra/` of a SavedModel.
      task: Whose model it is.
      serving: The model that takes raw inputs, if the task has one.
      signatures: The `tf.function`s of `signatures.build` by name.
      provenance: The facts of its run, if they are known.

    Raises:
      RunDirectoryError: If they cannot be written.
    """
    texts = {}
    if task.classes:
        texts["classes.txt"] = _lines(task.classes)
    words = [] if serving is None else _vocabulary(serving)
    if words:
        texts["vocabulary.txt"] = _lines(words)
    stated = card(task, signatures, provenance)
    texts["model_card.json"] = json.dumps(stated, indent=2) + "\n"
    texts["model_card.md"] = in_words(stated)
    if provenance is not None:
        texts |= {"config.json": provenance.config, **provenance.privacy}
    for name, text in texts.items():
        durable.write_text(os.path.join(folder, name), text)


def card(
    task: Task, signatures: Mapping[str, Any], provenance: Optional[Provenance]
) -> dict[str, Any]:
    """Returns the model card as a JSON object.

    Args:
      task: Whose model it is.
      signatures: The `tf.function`s of `signatures.build` by name.
      provenance: The facts of its run, if they are known.
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
        }
    return stated


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


def _count(number: Optional[int]) -> str:
    return "" if number is None else f"{number:,} "


def in_words(stated: Mapping[str, Any]) -> str:
    """Returns the card as Markdown.

    Args:
      stated: The JSON object of `card`.
    """
    data = stated["data"]
    lines = [
        f"# {stated['task']}",
        "",
        f"Trained on {_count(data['training_examples'])}examples of "
        f"{data['training_clients']:,} clients by federated averaging, tested "
        f"on {data['test_examples']:,} examples"
        + (
            f", with {data['validation_examples']:,} others to choose on."
            if data["validation_examples"]
            else "."
        ),
        "",
        "## What it can be asked",
        "",
        "| signature | takes | gives |",
        "|---|---|---|",
    ]
    for name, each in stated["signatures"].items():
        takes, gives = (
            ", ".join(f"`{key}` {kind} {shape}" for key, (kind, shape) in part)
            for part in (each["inputs"].items(), each["outputs"].items())
        )
        lines.append(f"| `{name}` | {takes} | {gives} |")
    if stated["labels"]:
        named = " and ".join(f"`{label}`" for label in stated["labels"])
        lines += ["", f"It predicts {named}."]
    renamed = [
        f"`{name}` is the column {own!r}"
        for name, own in stated.get("column_names", {}).items()
        if name != own
    ]
    if renamed:
        lines += ["", f"Of the inputs, {', '.join(renamed)}."]
    if "metrics" in stated:
        lines += [
            "",
            f"## How well it does, after {stated['rounds']} rounds",
            "",
        ]
        metrics = stated["metrics"]
        constant = metrics.get("constant_answer", {})
        for name, value in metrics.get("central", {}).items():
            beside = ""
            if name in constant:
                beside = f" (a constant answer: {constant[name]:.4g})"
            lines.append(f"- {name} on the test set: {value:.4g}{beside}")
        for name, value in metrics.get("validation", {}).items():
            lines.append(f"- {name} on the validation set: {value:.4g}")
        if metrics.get("chosen"):
            lines += ["", metrics["chosen"]]
        for group in stated["metrics"].get("clients", []):
            lines += ["", f"Over {group['count']} {group['which']}:", ""]
            lines += [
                "| metric | mean | p10 | median | p90 |",
                "|---|---|---|---|---|",
            ]
            for name, spread in group["metrics"].items():
                figures = (spread[k] for k in ("mean", "p10", "median", "p90"))
                shown = " | ".join(f"{figure:.4g}" for figure in figures)
                lines.append(f"| {name} | {shown} |")
        text = stated["privacy_statement"]
        lines += ["", "## Privacy", ""]
        if text is None:
            lines.append("Trained without differential privacy.")
        else:
            # As it stands: its columns and lines are part of it.
            lines += ["```text", text.rstrip("\n"), "```"]
    if stated["columns"]:
        lines += [
            "",
            "## Columns",
            "",
            "| column | type | missing | distinct | becomes |",
            "|---|---|---|---|---|",
        ]
    for use in stated["columns"]:
        missing, distinct = use["missing"], use["distinct"]
        lines.append(
            f"| {use['name']} | {use['kind']} | "
            f"{'' if missing is None else f'{missing:.1%}'} | "
            f"{'' if distinct is None else f'{distinct:,}'} | {use['why']} |"
        )
    lines += ["", "## Limits", "", *(f"- {each}" for each in stated["limits"])]
    if stated["notes"]:
        lines.append(f"- {stated['notes']}")
    return "\n".join(lines) + "\n"
