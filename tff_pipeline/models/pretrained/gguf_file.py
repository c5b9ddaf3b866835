"""Reads a GGUF file of a Llama-type model, quantized or not.

The format is llama.cpp's: metadata by key, then tensors whose rows may be
quantized. Numbers are computed as the library `gguf` does it. Queries and keys
are stored for interleaved rotary positions, see `checkpoint.half_split`.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.models.pretrained import gguf_tokenizer, libraries
from tff_pipeline.models.pretrained.checkpoint import (
    Checkpoint,
    Stored,
    check_layers,
)
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.architecture import Architecture, Shape

# The first bytes of a file.
MAGIC = b"GGUF"
# What the library raises on a file that is damaged.
_DAMAGE = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, OverflowError),
    *(RecursionError, MemoryError),
)
_PARTS = {
    "embeddings.tokens": "token_embd",
    "blocks.{}.attention.norm.scale": "blk.{}.attn_norm",
    "blocks.{}.attention.query.kernel": "blk.{}.attn_q",
    "blocks.{}.attention.key.kernel": "blk.{}.attn_k",
    "blocks.{}.attention.value.kernel": "blk.{}.attn_v",
    "blocks.{}.attention.output.kernel": "blk.{}.attn_output",
    "blocks.{}.feed_forward.norm.scale": "blk.{}.ffn_norm",
    "blocks.{}.feed_forward.gate.kernel": "blk.{}.ffn_gate",
    "blocks.{}.feed_forward.up.kernel": "blk.{}.ffn_up",
    "blocks.{}.feed_forward.down.kernel": "blk.{}.ffn_down",
    "final_norm.scale": "output_norm",
    "head.kernel": "output",
}
_SCALED = "rope_freqs.weight"


@dataclasses.dataclass(frozen=True)
class _Tensors:
    """Tensors of a file that is mapped, none of them computed yet."""

    path: str
    tensors: Mapping[str, Any]

    @property
    def shapes(self) -> dict[str, Shape]:
        # The format lists the sizes from the innermost.
        return {
            name: tuple(map(int, tensor.shape[::-1]))
            for name, tensor in self.tensors.items()
        }

    def read(self, name: str) -> npt.NDArray[Any]:
        """Computes one tensor's float32 numbers."""
        quants = libraries.load("gguf.quants", self.path)
        tensor = self.tensors[name]
        try:
            array = quants.dequantize(tensor.data, tensor.tensor_type)
        except (NotImplementedError, *_DAMAGE) as error:
            raise errors.DataError(
                f"{self.path} holds {name} as {tensor.tensor_type.name}, which "
                f"gguf cannot compute ({error}); give a file in another "
                "quantization, such as Q8_0 or F16."
            ) from None
        return np.asarray(array, np.float32)


def is_gguf(path: str) -> bool:
    """Returns whether `path` is a file that begins as GGUF does.

    Raises:
      DataError: If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); restore it."
        ) from None


def read(path: str) -> Checkpoint:
    """Reads all of a file but the tensors' numbers.

    Args:
      path: The file.

    Returns:
      The pretrained transformer.

    Raises:
      ConfigError: If the package gguf or tokenizers is not installed.
      DataError: If the file is damaged; the model is not of Llama's type, or
        its positions are scaled; names or shapes of tensors are not those of
        its metadata; or its tokenizer cannot be built.
    """
    metadata, tensors = _opened(path)
    shapes = tensors.shapes
    check_layers(metadata.values.get("llama.block_count"), shapes, path)
    architecture = _architecture(metadata, shapes)
    tokenizer, settings = gguf_tokenizer.read(
        metadata, architecture.vocabulary_size
    )
    return Checkpoint(
        path,
        architecture,
        _stored(architecture),
        shapes,
        tensors.read,
        [path],
        tokenizer=tokenizer,
        settings=settings,
    )


def _opened(path: str) -> tuple[Settings, _Tensors]:
    gguf = libraries.load("gguf", path)
    try:
        reader = gguf.GGUFReader(path)
        values = {name: f.contents() for name, f in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        end = max(t.data_offset + t.n_bytes for t in tensors.values())
        alignment = int(reader.alignment)
        if reader.endianess != gguf.GGUFEndian.LITTLE:
            raise ValueError("its bytes are in big-endian order")
    except _DAMAGE as error:
        words = " ".join(str(error).split())[:100]
        raise errors.DataError(
            f"{path} is damaged, or no GGUF file of a version that gguf can "
            f"read ({words}); restore it."
        ) from None
    # Each tensor is filled up to the alignment, the last one too.
    size = os.path.getsize(path)
    if size > -(-end // alignment) * alignment:
        raise errors.DataError(
            f"{path} has {size} bytes and its tensors end at {end}; restore it."
        )
    return Settings(path, values), _Tensors(path, tensors)


def _architecture(
    metadata: Settings, shapes: Mapping[str, Shape]
) -> Architecture:
    metadata.choice("general.architecture", ["llama"])
    metadata.absent("llama.expert_count", "a mixture of experts")
    metadata.choice("llama.rope.scaling.type", ["none"], "none")
    if _SCALED in shapes:
        raise errors.DataError(
            f"{metadata.place} holds {_SCALED}, which scales rotary positions; "
            "only models without can be read."
        )
    width = metadata.whole("llama.embedding_length")
    heads = metadata.whole("llama.attention.head_count")
    head_width = metadata.whole(
        "llama.attention.key_length", max(1, width // heads)
    )
    for key in ("llama.rope.dimension_count", "llama.attention.value_length"):
        if metadata.whole(key, head_width) != head_width:
            raise errors.DataError(
                f"{metadata.place} has {key}={metadata.values[key]} and heads "
                f"of {head_width} numbers; only models in which they are the "
                "same can be read."
            )
    return Architecture(
        "decoder",
        # The metadata need not have it.
        vocabulary_size=_rows(metadata, shapes, "token_embd.weight"),
        width=width,
        layers=metadata.whole("llama.block_count"),
        heads=heads,
        kv_heads=metadata.whole("llama.attention.head_count_kv", heads),
        head_width=head_width,
        hidden_width=metadata.whole("llama.feed_forward_length"),
        max_length=metadata.whole("llama.context_length"),
        activation="swiglu",
        norm="rms",
        norm_epsilon=_rounded(
            metadata.number("llama.attention.layer_norm_rms_epsilon", 1e-5)
        ),
        rotary_base=_rounded(metadata.number("llama.rope.freq_base", 1e4)),
        tied_head="output.weight" not in shapes,
    )


def _rows(metadata: Settings, shapes: Mapping[str, Shape], name: str) -> int:
    if name not in shapes or not shapes[name]:
        raise errors.DataError(
            f"{metadata.place} has no tensor {name}; restore it, or give the "
            "file of a whole model."
        )
    return shapes[name][0]


def _rounded(value: float) -> float:
    """Returns the number whose nearest float32 is `value`, as it is written.

    >>> _rounded(9.999999747378752e-06)
    1e-05
    """
    return float(str(np.float32(value)))


def _stored(architecture: Architecture) -> dict[str, Stored]:
    """Lists which tensor of a file is which weight."""
    interleaved = {
        "attention.query.kernel": architecture.heads,
        "attention.key.kernel": architecture.kv_heads,
    }
    stored = {}
    for name in architecture.weight_shapes():
        part, number = name, ""
        if name.startswith("blocks."):
            _, number, part = name.split(".", 2)
            part = f"blocks.{{}}.{part}"
        stored[name] = Stored(
            f"{_PARTS[part].format(number)}.weight",
            interleaved_heads=interleaved.get(part[len("blocks.{}.") :], 0),
        )
    return stored
