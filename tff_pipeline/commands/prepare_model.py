"""Describes a pretrained model in a few lines, and converts it."""

import json
import math
from typing import Optional

from tff_pipeline.models.pretrained import checkpoint, source
from tff_pipeline.models.pretrained.checkpoint import Checkpoint
from tff_pipeline.models.transformer.architecture import Architecture

# Names of weights that are left out, as many as are printed.
_SHOWN = 3
_ACTIVATIONS = {
    "swiglu": "SwiGLU",
    "gelu": "GELU",
    "gelu_tanh": "GELU (tanh)",
    "relu_squared": "squared ReLU",
}


def lines(
    init_from: str, dtype: str = "float32", output: Optional[str] = None
) -> list[str]:
    """Says what a pretrained model is, and converts it if that is asked.

    Args:
      init_from: The model, as `source.open_base` takes it.
      dtype: "float32" or "bfloat16", of what is written.
      output: The folder to convert it into, which must not exist; `None` to
        convert nothing.

    Raises:
      ConfigError: If `init_from` is not one that can be read, or a package that
        reads it is not installed.
      DataError: If the model is damaged, or of a kind that cannot be read.
      RunDirectoryError: If `output` cannot be written.
    """
    found = source.find(init_from)
    read = found.read()
    architecture = read.architecture
    sizes = {
        name: f"{checkpoint.num_bytes(architecture, name):,}"
        for name in checkpoint.DTYPES
    }
    told = [
        f"source      {found.package or found.kind}, {found.path}",
        f"sha256      {found.sha256(read)}",
        f"model       {in_words(architecture)}",
        f"parameters  {_parameters(architecture)}",
        "bytes       "
        + ", ".join(f"{size} in {name}" for name, size in sizes.items()),
        f"tokenizer   {_tokenizer(read)}",
    ]
    if read.left_out:
        names = ", ".join(read.left_out[:_SHOWN])
        more = len(read.left_out) - _SHOWN
        told.append(
            f"left out    {names}" + (f" and {more} more" if more > 0 else "")
        )
    if output is not None:
        base = source.convert(found, read, output, dtype)
        told.append(
            f"converted   {base.weights.folder}, {dtype}, SHA-256 "
            f"{base.weights.sha256}"
        )
    return told


def in_words(architecture: Architecture) -> str:
    """Describes an architecture in one line.

    >>> from tff_pipeline.models.transformer.architecture import gpt2_small
    >>> print(in_words(gpt2_small())[:58])
    decoder of 12 blocks of width 768; 12 heads of 64 numbers;

    Args:
      architecture: The transformer.
    """
    a = architecture
    heads = f"{a.heads} heads of {a.head_width} numbers"
    if a.kv_heads != a.heads:
        heads += f", {a.kv_heads} of keys"
    positions = f"{a.positions} positions"
    if a.positions == "rotary":
        positions += f" of base {a.rotary_base:g}"
    parts = [
        f"{a.kind} of {a.layers} blocks of width {a.width}",
        heads,
        f"{_ACTIVATIONS[a.activation]} of {a.hidden_width:,}",
        f"{'RMS' if a.norm == 'rms' else 'layer'} norms",
        f"{positions}, up to {a.max_length:,} tokens",
    ]
    if a.kind == "decoder":
        parts.append(f"head {'tied' if a.tied_head else 'not tied'}")
    elif a.pooler:
        parts.append("a pooler")
    return "; ".join(parts)


def _parameters(architecture: Architecture) -> str:
    """Counts all weights, those of embeddings and those of blocks."""
    counts = {"embeddings": 0, "blocks": 0, "others": 0}
    for name, shape in architecture.weight_shapes().items():
        part = name.partition(".")[0]
        counts[part if part in counts else "others"] += math.prod(shape)
    words = [f"{count:,} of {name}" for name, count in counts.items() if count]
    return f"{architecture.num_parameters():,}: {', '.join(words)}"


def _tokenizer(read: Checkpoint) -> str:
    """Describes the tokenizer: kind, size, special tokens, chat template."""
    if read.tokenizer is None:
        return "none (there is no tokenizer.json)"
    document = json.loads(read.tokenizer)
    vocabulary = document["model"]["vocab"]
    added = {each["content"] for each in document.get("added_tokens") or ()}
    # A list of pairs in Unigram models.
    tokens = {t if isinstance(t, str) else t[0] for t in vocabulary} | added
    ids = [
        f"{name} {'none' if number is None else number}"
        for name, number in (
            ("begin", read.settings.begin),
            ("end", read.settings.end),
            ("padding", read.settings.padding),
        )
    ]
    chat = "a" if read.settings.chat_template else "no"
    return (
        f"{document['model']['type']} of {len(tokens):,} tokens; ids: "
        f"{', '.join(ids)}; {chat} chat template"
    )
