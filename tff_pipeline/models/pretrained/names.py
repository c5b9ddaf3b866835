"""Names of a transformer's weights, for what we write for Hugging Face.

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

from collections.abc import Mapping

from tff_pipeline.models.pretrained.checkpoint import Stored
from tff_pipeline.models.pretrained.families import FAMILIES
from tff_pipeline.models.transformer.architecture import Architecture

# The family of architectures that no model of theirs has; names are then ours.
OWN = "tff_pipeline"
# Family -> the name of its base model within a larger one.
PREFIXES: Mapping[str, str] = {
    **{name: FAMILIES[name].prefix for name in ("llama", "gpt2", "bert")},
    OWN: "",
}
_THEIR_HEAD = "lm_head"


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
    number, part = "", module
    if module.startswith("blocks."):
        _, number, part = module.split(".", 2)
        part = f"blocks.{{}}.{part}"
    return FAMILIES[of_family].parts[part].format(number)


def prefixed(name: str, prefix: str) -> str:
    """Puts the base model's name before a layer's, except before the head's.

    Args:
      name: What `module_name` returned.
      prefix: One of the values of `PREFIXES`, or "".
    """
    return name if name == _THEIR_HEAD else prefix + name


def weight_names(
    architecture: Architecture, of_family: str, prefix: str
) -> dict[str, Stored]:
    """Lists the places of all weights in a checkpoint.

    >>> from tff_pipeline.models.transformer import architecture
    >>> table = weight_names(architecture.gpt2_small(), "gpt2", "transformer.")
    >>> place = table["blocks.0.attention.output.kernel"]
    >>> place.name, place.transposed
    ('transformer.h.0.attn.c_proj.weight', True)

    Args:
      architecture: The transformer.
      of_family: Its `family`, other than `OWN`.
      prefix: The family's in `PREFIXES`, or "" for the base model's names.

    Returns:
      Name as in `Architecture.weight_shapes` -> its place, in that order.
    """
    # The family tells from a checkpoint's names whether they have the prefix.
    return FAMILIES[of_family].stored(architecture, [prefix] if prefix else [])
