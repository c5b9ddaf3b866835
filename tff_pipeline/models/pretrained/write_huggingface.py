"""Writes a transformer as a folder that Hugging Face's libraries load.

    folder/config.json             what `AutoModel` and its kin need to know
    folder/model.safetensors       the weights, or several files and an index
    folder/generation_config.json  the ids that begin and end texts
    folder/tokenizer.json          the tokenizer, as the base has it
    folder/tokenizer_config.json   its special tokens and its chat template
    folder/README.md               the model card

`huggingface` reads such folders.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.files import durable
from tff_pipeline.models.pretrained import (
    libraries,
    names,
    tensor_files,
    tokenizer_file,
)
from tff_pipeline.models.pretrained.huggingface import CONFIG
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import TokenizerSettings

Array = npt.NDArray[Any]

# The size of a file up to which weights are held in memory at once.
_MOST_BYTES = 1 << 30
_FLOAT32_BYTES = 4
CARD = "README.md"
_GELU = {"gelu": "gelu", "gelu_tanh": "gelu_new"}


def write(
    folder: str,
    arrays: Mapping[str, Array],
    architecture: Architecture,
    *,
    tokenizer: Optional[bytes] = None,
    settings: Optional[TokenizerSettings] = None,
    readme: str = "",
    most_bytes: int = _MOST_BYTES,
) -> None:
    """Writes the folder of a model, whole or not at all.

    Args:
      folder: The folder; an older version is replaced.
      arrays: Name, as in `Architecture.weight_shapes` -> float32 or bfloat16
        numbers, as `adapter.merged` gives them. They are read one by one.
      architecture: The transformer.
      tokenizer: The content of `tokenizer.json`, if there is one.
      settings: The tokenizer's special tokens and its chat template.
      readme: The content of README.md, the model card; empty for none.
      most_bytes: The size up to which weights share a file.

    Raises:
      DataError: If no model of Hugging Face's has this architecture, or the
        arrays are not those of the architecture.
      ConfigError: If the package safetensors is not installed, or tokenizers
        with a tokenizer.
      RunDirectoryError: If the folder cannot be written.
    """
    family = names.family(architecture)
    if family == names.OWN:
        raise errors.DataError(
            f"{folder} cannot be written: no Llama, GPT-2 or BERT model has "
            f"the parts of this {architecture.kind} "
            f"(activation={architecture.activation}, norm={architecture.norm}, "
            f"positions={architecture.positions}); export a SavedModel."
        )
    base.check_shapes(
        {name: tuple(arrays[name].shape) for name in arrays},
        architecture.weight_shapes(),
        "The model",
    )
    settings = settings or TokenizerSettings()
    config = {**_config(architecture, family), **_ids(settings)}
    files: dict[str, Any] = {}
    if architecture.kind == "decoder":
        files["generation_config.json"] = _ids(settings)
    if tokenizer is not None:
        files["tokenizer_config.json"] = _tokenizer_config(
            tokenizer, architecture, settings
        )
    with durable.folder(folder, CONFIG) as temporary:
        dtype = _write_weights(
            temporary, arrays, architecture, family, most_bytes
        )
        files[CONFIG] = {**config, "torch_dtype": dtype}
        for name, content in files.items():
            _write_json(os.path.join(temporary, name), content)
        contents = {base.TOKENIZER: tokenizer, CARD: readme.encode()}
        for name, bytes_written in contents.items():
            if bytes_written:
                with open(os.path.join(temporary, name), "wb") as file:
                    file.write(bytes_written)


def _write_json(path: str, content: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_weights(
    folder: str,
    arrays: Mapping[str, Array],
    architecture: Architecture,
    family: str,
    most_bytes: int,
) -> str:
    """Writes all weights; returns the name of the first one's dtype."""
    safetensors = libraries.load("safetensors.numpy", folder)
    # BERT's base is written on its own, the others with their heads.
    prefix = "" if family == "bert" else names.PREFIXES[family]
    table = names.weight_names(architecture, family, prefix)
    groups = list(_groups(architecture, most_bytes))
    dtype, weight_map = "", {}
    for number, group in enumerate(groups, 1):
        file = tensor_files.SINGLE
        if len(groups) > 1:
            file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        tensors = {}
        for name in group:
            array, place = arrays[name], table[name]
            dtype = dtype or array.dtype.name
            # The library reads memory in order, whatever the strides.
            tensors[place.name] = np.ascontiguousarray(
                array.T if place.transposed else array
            )
            weight_map[place.name] = file
        safetensors.save_file(
            tensors, os.path.join(folder, file), {"format": "pt"}
        )
    if len(groups) > 1:
        _write_json(
            os.path.join(folder, tensor_files.INDEX),
            {"metadata": {}, "weight_map": weight_map},
        )
    return dtype


def _groups(architecture: Architecture, most_bytes: int) -> Iterator[list[str]]:
    """Yields the names of the weights of each file."""
    group: list[str] = []
    size = 0
    for name, shape in architecture.weight_shapes().items():
        added = math.prod(shape) * _FLOAT32_BYTES
        if group and size + added > most_bytes:
            yield group
            group, size = [], 0
        group.append(name)
        size += added
    yield group


def _config(architecture: Architecture, family: str) -> dict[str, Any]:
    """Returns config.json, without the ids of special tokens."""
    return {
        "llama": _llama,
        "gpt2": _gpt2,
        "bert": _bert,
    }[family](architecture)


def _llama(architecture: Architecture) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": architecture.vocabulary_size,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.hidden_width,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.kv_heads,
        "head_dim": architecture.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": architecture.max_length,
        "rms_norm_eps": architecture.norm_epsilon,
        "rope_theta": architecture.rotary_base,
        "attention_bias": architecture.bias,
        "mlp_bias": architecture.bias,
        "tie_word_embeddings": architecture.tied_head,
    }


def _gpt2(architecture: Architecture) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": architecture.vocabulary_size,
        "n_positions": architecture.max_length,
        "n_embd": architecture.width,
        "n_inner": architecture.hidden_width,
        "n_layer": architecture.layers,
        "n_head": architecture.heads,
        "activation_function": _GELU[architecture.activation],
        "layer_norm_epsilon": architecture.norm_epsilon,
        "tie_word_embeddings": architecture.tied_head,
    }


def _bert(architecture: Architecture) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": architecture.vocabulary_size,
        "hidden_size": architecture.width,
        "intermediate_size": architecture.hidden_width,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "hidden_act": _GELU[architecture.activation],
        "max_position_embeddings": architecture.max_length,
        "layer_norm_eps": architecture.norm_epsilon,
        "type_vocab_size": architecture.token_types,
    }


def _ids(settings: TokenizerSettings) -> dict[str, Optional[int]]:
    """Returns the ids of special tokens; the libraries' defaults are others."""
    return {
        "bos_token_id": settings.begin,
        "eos_token_id": settings.end,
        "pad_token_id": settings.padding,
    }


def _tokenizer_config(
    tokenizer: bytes, architecture: Architecture, settings: TokenizerSettings
) -> dict[str, Any]:
    """Returns tokenizer_config.json."""
    tokens = tokenizer_file.checked(
        tokenizer, architecture.vocabulary_size, base.TOKENIZER
    )
    decoder = architecture.kind == "decoder"
    begin, end = ("bos", "eos") if decoder else ("cls", "sep")
    ids = {begin: settings.begin, end: settings.end, "pad": settings.padding}
    inputs = ["input_ids", "attention_mask"]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": architecture.max_length,
        # A decoder refuses token types, which the class gives by itself.
        "model_input_names": inputs if decoder else [*inputs, "token_type_ids"],
        "clean_up_tokenization_spaces": False,
        "add_bos_token": settings.begin is not None,
        **{
            f"{name}_token": tokens.id_to_token(number)
            for name, number in ids.items()
            if number is not None
        },
    }
    if settings.chat_template:
        config["chat_template"] = settings.chat_template
    return config
