"""Reads what a Hugging Face config.json says of a model's architecture.

The names are those of `transformers` 4.46; where a later version has moved a
setting, it is read there too. What an `Architecture` cannot say is refused: a
model that is computed differently is another model.
"""

from collections.abc import Collection

from tff_pipeline import errors
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.architecture import Architecture

_GELU = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}


def llama(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a Llama (Touvron et al. 2023) or Mistral model.

    Args:
      config: What config.json holds.
      names: Not used.

    Raises:
      DataError: If a setting is missing, or asks for what cannot be read.
    """
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


def gpt2(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a GPT-2 model (Radford et al. 2019).

    Args:
      config: What config.json holds.
      names: Not used.

    Raises:
      DataError: If a setting is missing, or asks for what cannot be read.
    """
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


def bert(config: Settings, names: Collection[str]) -> Architecture:
    """Reads the config of a BERT model (Devlin et al. 2019).

    Args:
      config: What config.json holds.
      names: The names of the weights, without "bert.", which tell whether there
        is a pooler.

    Raises:
      DataError: If a setting is missing, or asks for what cannot be read.
    """
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
