"""Names that Hugging Face gives the parts of the models that can be read.

A family tells which name and form the weights of a checkpoint have: those of
`transformers` 4.46, and the ones before it that differ only in names.
"""

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

from tff_pipeline import errors
from tff_pipeline.models.pretrained import configs
from tff_pipeline.models.pretrained.checkpoint import Stored
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.architecture import Architecture


@dataclasses.dataclass(frozen=True)
class Family:
    """Models of one type, whose checkpoints have the same names.

    Attributes:
      prefix: What the names of the transformer begin with if the checkpoint
        has a head beside it.
      architecture: Config and the weights' names, without the prefix -> the
        architecture.
      parts: The transformer's part, as `Architecture` names it, "{}" for the
        block -> the checkpoint's, without the prefix.
      without_prefix: The parts that stand outside the transformer.
      ignored: Patterns of names, without the prefix, of what a checkpoint may
        hold besides: buffers, and the heads of tasks.
      transposed: Whether the matrices of blocks are [inputs, outputs].
    """

    prefix: str
    architecture: Callable[[Settings, Collection[str]], Architecture]
    parts: dict[str, str]
    without_prefix: tuple[str, ...]
    ignored: tuple[str, ...]
    transposed: bool = False

    def stored(
        self, architecture: Architecture, names: Collection[str]
    ) -> dict[str, Stored]:
        """Lists which weight of a checkpoint is which of the architecture.

        Args:
          architecture: The transformer.
          names: The checkpoint's names, which tell whether it has the prefix,
            and how it names the parts of norms.

        Returns:
          Name, as in `Architecture.weight_shapes` -> how it is stored.
        """
        prefix = self._prefix(names)
        return {
            name: self._stored(name, prefix, names)
            for name in architecture.weight_shapes()
        }

    def _stored(self, name: str, prefix: str, names: Collection[str]) -> Stored:
        block = re.match(r"blocks\.(\d+)\.", name)
        part = name
        if block:
            part = name.replace(block[0], "blocks.{}.", 1)
        part, _, kind = part.rpartition(".")
        if part == "embeddings":
            part, kind = f"{part}.{kind}", "kernel"
        theirs = self.parts[part].format(block[1] if block else "")
        if part not in self.without_prefix:
            theirs = prefix + theirs
        suffix = "bias" if kind == "bias" else "weight"
        # Checkpoints that were converted from TensorFlow.
        if part.endswith("norm") and f"{theirs}.gamma" in names:
            suffix = {"bias": "beta", "weight": "gamma"}[suffix]
        return Stored(
            f"{theirs}.{suffix}",
            self.transposed and block is not None and kind == "kernel",
        )

    def bare(self, names: Collection[str]) -> set[str]:
        """Returns the names of a checkpoint without the prefix."""
        prefix = self._prefix(names)
        return {
            name[len(prefix) :] if name.startswith(prefix) else name
            for name in names
        }

    def left_out(
        self, architecture: Architecture, names: Collection[str]
    ) -> list[str]:
        """Lists what a checkpoint holds that is no part of the transformer.

        Args:
          architecture: The transformer.
          names: The checkpoint's names.
        """
        prefix = self._prefix(names)
        patterns = [*self.ignored]
        # Some files hold the matrix twice.
        if architecture.kind == "decoder" and architecture.tied_head:
            patterns.append(r"lm_head\.weight")
        pattern = re.compile(f"({re.escape(prefix)})?({'|'.join(patterns)})")
        return [name for name in names if pattern.fullmatch(name)]

    def _prefix(self, names: Collection[str]) -> str:
        has = any(name.startswith(self.prefix) for name in names)
        return self.prefix if has else ""


_LLAMA = Family(
    "model.",
    configs.llama,
    {
        "embeddings.tokens": "embed_tokens",
        "blocks.{}.attention.norm": "layers.{}.input_layernorm",
        "blocks.{}.attention.query": "layers.{}.self_attn.q_proj",
        "blocks.{}.attention.key": "layers.{}.self_attn.k_proj",
        "blocks.{}.attention.value": "layers.{}.self_attn.v_proj",
        "blocks.{}.attention.output": "layers.{}.self_attn.o_proj",
        "blocks.{}.feed_forward.norm": "layers.{}.post_attention_layernorm",
        "blocks.{}.feed_forward.gate": "layers.{}.mlp.gate_proj",
        "blocks.{}.feed_forward.up": "layers.{}.mlp.up_proj",
        "blocks.{}.feed_forward.down": "layers.{}.mlp.down_proj",
        "final_norm": "norm",
        "head": "lm_head",
    },
    ("head",),
    (r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", r"score\.weight"),
)
_GPT2 = Family(
    "transformer.",
    configs.gpt2,
    {
        "embeddings.tokens": "wte",
        "embeddings.positions": "wpe",
        "blocks.{}.attention.norm": "h.{}.ln_1",
        "blocks.{}.attention.query_key_value": "h.{}.attn.c_attn",
        "blocks.{}.attention.output": "h.{}.attn.c_proj",
        "blocks.{}.feed_forward.norm": "h.{}.ln_2",
        "blocks.{}.feed_forward.up": "h.{}.mlp.c_fc",
        "blocks.{}.feed_forward.down": "h.{}.mlp.c_proj",
        "final_norm": "ln_f",
        "head": "lm_head",
    },
    ("head",),
    (r"h\.\d+\.attn\.(bias|masked_bias)", r"score\.weight"),
    transposed=True,
)
_BERT = Family(
    "bert.",
    configs.bert,
    {
        "embeddings.tokens": "embeddings.word_embeddings",
        "embeddings.positions": "embeddings.position_embeddings",
        "embeddings.types": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "blocks.{}.attention.query": "encoder.layer.{}.attention.self.query",
        "blocks.{}.attention.key": "encoder.layer.{}.attention.self.key",
        "blocks.{}.attention.value": "encoder.layer.{}.attention.self.value",
        "blocks.{}.attention.output": "encoder.layer.{}.attention.output.dense",
        "blocks.{}.attention.norm": (
            "encoder.layer.{}.attention.output.LayerNorm"
        ),
        "blocks.{}.feed_forward.up": "encoder.layer.{}.intermediate.dense",
        "blocks.{}.feed_forward.down": "encoder.layer.{}.output.dense",
        "blocks.{}.feed_forward.norm": "encoder.layer.{}.output.LayerNorm",
        "pooler": "pooler.dense",
    },
    (),
    (
        r"embeddings\.(position_ids|token_type_ids)",
        *(r"cls\..*", r"classifier\..*", r"qa_outputs\..*"),
    ),
)
# The model_type of a config.json -> how its checkpoint is read.
FAMILIES = {"llama": _LLAMA, "mistral": _LLAMA, "gpt2": _GPT2, "bert": _BERT}


def family(config: Settings) -> Family:
    """Returns the family that a config.json belongs to.

    Args:
      config: What the file holds.

    Raises:
      DataError: If it is none that can be read, or is quantized.
    """
    config.absent("quantization_config", "a quantized model")
    kind: Any = config.values.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise errors.DataError(
            f"{config.place} has model_type={str(kind)[:60]!r}; what can be "
            f"read is: {', '.join(FAMILIES)}."
        )
    return FAMILIES[kind]
