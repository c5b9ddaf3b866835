"""Names that Hugging Face gives the parts of the models that can be read.

A family tells what a config.json says of the architecture, and which name and
form a checkpoint's weights have: those of `transformers` 4.46, and the ones
before and after it that differ only in names.
"""

import dataclasses
import re
from collections.abc import Callable, Collection
from typing import Any

from tff_pipeline import errors
from tff_pipeline.models.pretrained.checkpoint import Stored
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.architecture import Architecture

_GELU = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


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
      without_prefix: The part that stands outside the transformer.
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


def _llama(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a Llama (Touvron et al. 2023) or Mistral model."""
    del names
    config.choice("hidden_act", ["silu"], "silu")
    for name in ("rope_scaling", "rope_parameters"):
        _check_rope(config, name)
    if config.number("partial_rotary_factor", 1.0) != 1.0:
        raise errors.DataError(
            f"{config.place} has a partial_rotary_factor other than 1; only "
            "rotary positions of whole heads can be read."
        )
    bias = config.flag("attention_bias", False)
    if config.flag("mlp_bias", False) != bias:
        raise errors.DataError(
            f"{config.place} has attention_bias and mlp_bias that differ; only "
            "models whose matrices all have a bias, or none, can be read."
        )
    width, heads = config.whole("hidden_size"), _heads(config)
    length = config.whole("max_position_embeddings", 2_048)
    # Up to there a sliding window shows each token all those before it.
    length = min(length, config.whole("sliding_window", length))
    rope = config.values.get("rope_parameters") or config.values
    return Architecture(
        "decoder",
        vocabulary_size=config.whole("vocab_size"),
        width=width,
        layers=config.whole("num_hidden_layers"),
        heads=heads,
        kv_heads=config.whole("num_key_value_heads", heads),
        head_width=config.whole("head_dim", max(1, width // heads)),
        hidden_width=config.whole("intermediate_size"),
        max_length=length,
        activation="swiglu",
        norm="rms",
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        rotary_base=Settings(config.place, rope).number("rope_theta", 1e4),
        bias=bias,
        tied_head=config.flag("tie_word_embeddings", False),
    )


def _check_rope(config: Settings, name: str) -> None:
    """Checks that rotary positions are not scaled for longer texts."""
    scaling = config.values.get(name)
    if not scaling:
        return
    if not isinstance(scaling, dict) or "default" not in (
        scaling.get("rope_type"),
        scaling.get("type"),
    ):
        kind = scaling
        if isinstance(scaling, dict):
            kind = scaling.get("rope_type", scaling.get("type"))
        raise errors.DataError(
            f"{config.place} has {name} of type {str(kind)[:40]!r}; only "
            'rotary positions that are not scaled (null, or type "default") '
            "can be read, so give a model that was trained without."
        )


def _heads(config: Settings) -> int:
    """Returns the number of heads, which must part the width evenly."""
    width = config.whole("hidden_size")
    heads = config.whole("num_attention_heads")
    if width % heads and not config.values.get("head_dim"):
        raise errors.DataError(
            f"{config.place} has hidden_size={width}, which "
            f"num_attention_heads={heads} does not divide."
        )
    return heads


def _gpt2(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a GPT-2 model (Radford et al. 2019)."""
    del names
    config.absent("scale_attn_by_inverse_layer_idx", "attention of that kind")
    config.absent("add_cross_attention", "a decoder with an encoder")
    config.choice("scale_attn_weights", [True], True)
    width, heads = config.whole("n_embd"), config.whole("n_head")
    if width % heads:
        raise errors.DataError(
            f"{config.place} has n_embd={width}, which n_head={heads} does "
            "not divide."
        )
    activation = config.choice("activation_function", _GELU, "gelu_new")
    return Architecture(
        "decoder",
        vocabulary_size=config.whole("vocab_size"),
        width=width,
        layers=config.whole("n_layer"),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden_width=config.whole("n_inner", 4 * width),
        max_length=config.whole("n_positions"),
        activation=_GELU[activation],
        norm="layer",
        norm_epsilon=config.number("layer_norm_epsilon", 1e-5),
        positions="learned",
        bias=True,
        fused_attention=True,
        tied_head=config.flag("tie_word_embeddings", True),
    )


def _bert(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a BERT model (Devlin et al. 2019)."""
    config.choice("position_embedding_type", ["absolute"], "absolute")
    config.absent("is_decoder", "BERT as a decoder")
    config.absent("add_cross_attention", "BERT as a decoder")
    width, heads = config.whole("hidden_size"), _heads(config)
    return Architecture(
        "encoder",
        vocabulary_size=config.whole("vocab_size"),
        width=width,
        layers=config.whole("num_hidden_layers"),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        hidden_width=config.whole("intermediate_size"),
        max_length=config.whole("max_position_embeddings"),
        activation=_GELU[config.choice("hidden_act", _GELU, "gelu")],
        norm="layer",
        norm_epsilon=config.number("layer_norm_eps", 1e-12),
        positions="learned",
        bias=True,
        token_types=config.whole("type_vocab_size", 2),
        # Models that were trained to fill in words alone have none.
        pooler="pooler.dense.weight" in names,
    )


_LLAMA = Family(
    "model.",
    _llama,
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
    _gpt2,
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
    _bert,
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
