"""Puts a model card into words, as Markdown (Mitchell et al. 2019)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

_NOT_COVERED = (
    "This is said of the training described here. It does not cover the "
    "pretrained model that it stands on: whose data that was trained on, and "
    "what it remembers of them, is not known here."
)


def front_matter(facts: Mapping[str, str]) -> str:
    r"""Returns the lines by which Hugging Face's tools know a model card.

    >>> front_matter({"library_name": "peft"})
    '---\nlibrary_name: "peft"\n---\n\n'

    Args:
      facts: The values by name.
    """
    # A string of JSON is one of YAML.
    lines = [f"{name}: {json.dumps(value)}" for name, value in facts.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def _base_lines(base: Optional[Mapping[str, Any]]) -> list[str]:
    if base is None:
        return []
    words = (
        f"It stands on the pretrained model {base['source']}, of the SHA-256 "
        f"`{base['sha256']}`. Of {base['weights']:,} weights "
        f"{base['trained_weights']:,} were trained here"
    )
    if "adapter" in base:
        adapter = base["adapter"]
        words += (
            f", low-rank factors of {adapter['matrices']} matrices (rank "
            f"{adapter['rank']}, alpha {adapter['alpha']:g})"
        )
    return ["", f"{words}."]


def _frozen_lines(frozen: Optional[Mapping[str, Any]]) -> list[str]:
    if frozen is None:
        return []
    hashes = ", ".join(f"`{sha256}`" for sha256 in frozen["sha256"])
    return [
        "",
        f"Of its {frozen['weights']:,} weights {frozen['trained_weights']:,} "
        "were trained here. Others were frozen: they are as they were before, "
        f"and no client received them (SHA-256 {hashes}).",
    ]


def _pruned_lines(pruned: Optional[Mapping[str, Any]]) -> list[str]:
    if pruned is None:
        return []
    share = pruned["zeros"] / pruned["weights"]
    return [
        "",
        f"Of the {pruned['weights']:,} weights of its kernels and embeddings "
        f"{pruned['zeros']:,} ({share:.1%}) were pruned while it trained, and "
        "are zero.",
    ]


def _signature_lines(signatures: Mapping[str, Any]) -> list[str]:
    if not signatures:
        return []
    lines = [
        "",
        "## What it can be asked",
        "",
        "| signature | takes | gives |",
        "|---|---|---|",
    ]
    for name, each in signatures.items():
        takes, gives = (
            ", ".join(f"`{key}` {kind} {shape}" for key, (kind, shape) in part)
            for part in (each["inputs"].items(), each["outputs"].items())
        )
        lines.append(f"| `{name}` | {takes} | {gives} |")
    return lines


def _sample_lines(samples: Sequence[Mapping[str, str]]) -> list[str]:
    if not samples:
        return []
    lines = [
        "",
        "## What it writes",
        "",
        "From prompts that are the same for every model, each token the "
        "likeliest:",
    ]
    for sample in samples:
        # Indented by four, a text is shown as it is.
        text = sample["text"].splitlines() or [""]
        lines += ["", *(f"    {line}" for line in text)]
    return lines


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
    ]
    lines += _base_lines(stated.get("base"))
    lines += _frozen_lines(stated.get("frozen"))
    lines += _pruned_lines(stated.get("pruned"))
    lines += _signature_lines(stated["signatures"])
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
        before = metrics.get("before", {})
        for name, value in metrics.get("central", {}).items():
            beside = ""
            if name in constant:
                beside = f" (a constant answer: {constant[name]:.4g})"
            if name in before:
                beside += f" (before training: {before[name]:.4g})"
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
        if "base" in stated:
            lines += ["", _NOT_COVERED]
        for line in stated.get("travels", ()):
            lines += ["", line]
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
    lines += _sample_lines(stated.get("samples", []))
    lines += ["", "## Limits", "", *(f"- {each}" for each in stated["limits"])]
    if stated["notes"]:
        lines.append(f"- {stated['notes']}")
    return "\n".join(lines) + "\n"
