"""Names of a transformer's weights in checkpoints of Hugging Face's models.

Which family of their models an architecture belongs to follows from its parts.
A family's weights are named as in its base model (`LlamaModel`, `GPT2Model`,
`BertModel`); where that is a part of another, such as `LlamaForCausalLM`, the
base's name stands before them, which `PREFIXES` has.

    ours                                llama
    embeddings.tokens                   model.embed_tokens.weight
    blocks.3.attention.query.kernel     model.layers.3.self_attn.q_proj.weight
    blocks.3.feed_forward.norm.scale    model.layers.3.post_attention_layernorm
                                        .weight
    head.kernel                         lm_head.weight
"""

import dataclasses
from collections.abc import Mapping

from tff_pipeline.models.transformer.architecture import Architecture

# The family of architectures that no model of theirs has; names are then ours.
OWN = "tff_pipeline"
# Family -> the name of its base model within a larger one.
PREFIXES: Mapping[str, str] = {
    "llama": "model.",
    "gpt2": "transformer.",
    "bert": "bert.",
    OWN: "",
}
# Our modules -> theirs. A name here has no block's number; `_BLOCKS` has what
# stands before it.
_MODULES: Mapping[str, Mapping[str, str]] = {
    "llama": {
        "embeddings.tokens": "embed_tokens",
        "attention.norm": "input_layernorm",
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.output": "self_attn.o_proj",
        "feed_forward.norm": "post_attention_layernorm",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.down": "mlp.down_proj",
        "final_norm": "norm",
    },
    "gpt2": {
        "embeddings.tokens": "wte",
        "embeddings.positions": "wpe",
        "attention.norm": "ln_1",
        "attention.query_key_value": "attn.c_attn",
        "attention.output": "attn.c_proj",
        "feed_forward.norm": "ln_2",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.down": "mlp.c_proj",
        "final_norm": "ln_f",
    },
    "bert": {
        "embeddings.tokens": "embeddings.word_embeddings",
        "embeddings.positions": "embeddings.position_embeddings",
        "embeddings.types": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "attention.norm": "attention.output.LayerNorm",
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "feed_forward.norm": "output.LayerNorm",
        "feed_forward.up": "intermediate.dense",
        "feed_forward.down": "output.dense",
        "pooler": "pooler.dense",
    },
}
_BLOCKS = {"llama": "layers", "gpt2": "h", "bert": "encoder.layer"}
_HEAD = "head"
_THEIR_HEAD = "lm_head"
# Our last words -> theirs; an embedding's name has none of them.
_PARAMETERS = {"kernel": "weight", "scale": "weight", "bias": "bias"}


@dataclasses.dataclass(frozen=True)
class CheckpointName:
    """Place of a weight in a checkpoint.

    Attributes:
      name: Its name there.
      transposed: Whether it is stored [inputs, outputs], as the matrices of
        GPT-2's blocks are; ours are [outputs, inputs].
    """

    name: str
    transposed: bool


def family(architecture: Architecture) -> str:
    """Returns the family of models that an architecture belongs to.

    >>> from tff_pipeline.models.transformer import architecture
    >>> family(architecture.smollm2_135m()), family(architecture.gpt2_small())
    ('llama', 'gpt2')
    >>> family(architecture.character_model(90, 128))
    'tff_pipeline'

    Args:
      architecture: The transformer.

    Returns:
      "llama", "gpt2" or "bert"; `OWN` if a model of none of these computes what
      the architecture says.
    """
    parts = (
        architecture.kind,
        architecture.norm,
        architecture.positions,
        architecture.fused_attention,
        architecture.token_types > 0,
    )
    gelu = architecture.activation in ("gelu", "gelu_tanh")
    # GPT-2 and BERT have heads that share the width, and biases everywhere.
    plain = (
        architecture.bias
        and architecture.kv_heads == architecture.heads
        and architecture.heads * architecture.head_width == architecture.width
    )
    pooler, swiglu = architecture.pooler, architecture.activation == "swiglu"
    if architecture.normalized_heads:
        return OWN
    if swiglu and parts == ("decoder", "rms", "rotary", False, False):
        return OWN if pooler else "llama"
    if gelu and plain:
        if parts == ("encoder", "layer", "learned", False, True):
            return "bert"
        if parts == ("decoder", "layer", "learned", True, False):
            return OWN if pooler else "gpt2"
    return OWN


def module_name(module: str, of_family: str) -> str:
    """Returns the name of a layer in a family's base model.

    >>> module_name("blocks.3.attention.query", "llama")
    'layers.3.self_attn.q_proj'
    >>> module_name("blocks.3.attention.query", "tff_pipeline")
    'blocks.3.attention.query'

    Args:
      module: Our name of a layer: a weight's without its last word.
      of_family: A key of `PREFIXES`.

    Raises:
      KeyError: If models of the family have no such layer.
    """
    if of_family == OWN:
        return module
    if module == _HEAD:
        return _THEIR_HEAD
    modules = _MODULES[of_family]
    if not module.startswith("blocks."):
        return modules[module]
    _, number, part = module.split(".", 2)
    return f"{_BLOCKS[of_family]}.{number}.{modules[part]}"


def prefixed(name: str, prefix: str) -> str:
    """Puts the base model's name before a layer's, except before the head's.

    Args:
      name: What `module_name` returned.
      prefix: One of the values of `PREFIXES`, or "".
    """
    return name if name == _THEIR_HEAD else prefix + name


def weight_names(
    architecture: Architecture, of_family: str, prefix: str
) -> dict[str, CheckpointName]:
    """Lists the places of all weights in a checkpoint.

    >>> from tff_pipeline.models.transformer import architecture
    >>> table = weight_names(architecture.gpt2_small(), "gpt2", "transformer.")
    >>> table["blocks.0.attention.output.kernel"]
    CheckpointName(name='transformer.h.0.attn.c_proj.weight', transposed=True)

    Args:
      architecture: The transformer.
      of_family: Its `family`.
      prefix: The family's in `PREFIXES`, or "" for the base model's names.

    Returns:
      Name as in `Architecture.weight_shapes` -> its place, in that order.
    """
    table = {}
    for name in architecture.weight_shapes():
        if of_family == OWN:
            table[name] = CheckpointName(name, False)
            continue
        module, _, last = name.rpartition(".")
        if last not in _PARAMETERS:
            module = name
        theirs = prefixed(module_name(module, of_family), prefix)
        table[name] = CheckpointName(
            f"{theirs}.{_PARAMETERS.get(last, 'weight')}",
            of_family == "gpt2"
            and name.startswith("blocks.")
            and last == "kernel",
        )
    return table
