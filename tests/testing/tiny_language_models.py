"""Language models of a moment: a folder as Hugging Face has it, and texts."""

import gzip
import json

import numpy as np

from tests.testing import tiny_tokenizers
from tff_pipeline.datasets import shakespeare
from tff_pipeline.models.pretrained import write_huggingface
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import TokenizerSettings

POSITIONS = 64
LLAMA = Architecture(
    "decoder",
    vocabulary_size=344,
    width=16,
    layers=2,
    heads=4,
    kv_heads=2,
    head_width=4,
    hidden_width=24,
    max_length=POSITIONS,
    activation="swiglu",
    norm="rms",
)
END, CHAT_END = 0, 2


def weights(architecture=LLAMA, seed=0):
    """Weights so large that what is likely depends on all tokens before."""
    draw = np.random.default_rng(seed)
    return {
        name: draw.normal(size=shape).astype(np.float32)
        * (1.0 if len(shape) == 1 else 2.0 * shape[1] ** -0.5)
        for name, shape in architecture.weight_shapes().items()
    }


def write(folder, template=tiny_tokenizers.CHATML, tokenizer=True, seed=0):
    """Writes a Llama-type model; returns the folder's path."""
    write_huggingface.write(
        str(folder),
        weights(seed=seed),
        LLAMA,
        tokenizer=tiny_tokenizers.content() if tokenizer else None,
        settings=TokenizerSettings(None, END, None, template),
    )
    return str(folder)


def write_roles(folder):
    """Writes Shakespeare's file with three roles; returns the folder."""
    lines = ["to be, or not to be", "that is the question:", "the end?"]
    users = [
        {"client": f"role {i}", "speeches": [lines, lines[i:]]}
        for i in range(3)
    ]
    text = "".join(json.dumps(user) + "\n" for user in users)
    path = folder / f"{shakespeare.FILE}.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return str(folder)
