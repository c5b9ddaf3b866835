"""Reads the golden checkpoints in tests/models/pretrained/golden."""

import pathlib

import numpy as np
from safetensors.numpy import load_file

from tff_pipeline.models.pretrained import names
from tff_pipeline.models.transformer.architecture import Architecture

GOLDEN = pathlib.Path(__file__).parents[1] / "models" / "pretrained" / "golden"
_SIZES = {
    "vocabulary_size": 20,
    "width": 8,
    "layers": 2,
    "heads": 2,
    "head_width": 4,
    "hidden_width": 12,
    "max_length": 16,
}
ARCHITECTURES = {
    "llama": Architecture(
        "decoder",
        **_SIZES,
        kv_heads=1,
        activation="swiglu",
        norm="rms",
        rotary_base=100_000.0,
        tied_head=False,
    ),
    "gpt2": Architecture(
        "decoder",
        **_SIZES,
        kv_heads=2,
        activation="gelu_tanh",
        norm="layer",
        positions="learned",
        bias=True,
        fused_attention=True,
    ),
    "bert": Architecture(
        "encoder",
        **_SIZES,
        kv_heads=2,
        activation="gelu",
        norm="layer",
        norm_epsilon=1e-12,
        positions="learned",
        bias=True,
        token_types=2,
        pooler=True,
    ),
}
FAMILIES = tuple(ARCHITECTURES)


def base_prefix(family):
    """The prefix of names in the golden files: BERT's base stands alone."""
    return "" if family == "bert" else names.PREFIXES[family]


def weights(family, file="model.safetensors"):
    """The weights of a golden checkpoint that a file has, by our names."""
    tensors = load_file(GOLDEN / family / file)
    table = names.weight_names(
        ARCHITECTURES[family], family, base_prefix(family)
    )
    return {
        name: np.ascontiguousarray(
            tensors[place.name].T if place.transposed else tensors[place.name]
        )
        for name, place in table.items()
        if place.name in tensors
    }
