"""Builds the tokenizer that a GGUF file describes in its metadata."""

import json
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.models.pretrained import tokenizer_file
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.base import TokenizerSettings

# `tokenizer.ggml.pre`, the rule that parts text before its bytes are merged
# -> whether each digit is a part of its own. All part words as GPT-2 does.
_SPLITS_DIGITS = {"default": False, "gpt-2": False, "smollm": True}
# `tokenizer.ggml.token_type`, as llama.cpp numbers them.
_CONTROL, _USER_DEFINED = 3, 4


def read(
    metadata: Settings, vocabulary_size: int
) -> tuple[bytes, TokenizerSettings]:
    """Builds the content of a `tokenizer.json` from a file's metadata.

    It is written here and not by the library `tokenizers`, which writes the
    same tokenizer differently from version to version: the SHA-256 of a base
    is to be the same wherever it is converted.

    Args:
      metadata: The metadata by key.
      vocabulary_size: The number of token ids that the model has.

    Returns:
      (the content, the special tokens and the chat template).

    Raises:
      ConfigError: If the package tokenizers is not installed.
      DataError: If the tokenizer is no byte-level BPE (Sennrich et al. 2016;
        Radford et al. 2019) of a kind that can be built, or does not fit the
        model.
    """
    kind = metadata.values.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise errors.DataError(
            f"{metadata.place} has a tokenizer of kind {str(kind)[:40]!r}; "
            'only byte-level BPE (tokenizer.ggml.model="gpt2") can be built '
            "from a GGUF file, so give the model's Hugging Face folder, whose "
            "tokenizer.json is read as it is."
        )
    pre = metadata.choice("tokenizer.ggml.pre", _SPLITS_DIGITS, "default")
    tokens = _list(metadata, "tokenizer.ggml.tokens", str)
    types = _list(metadata, "tokenizer.ggml.token_type", int)
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise errors.DataError(
            f"{metadata.place} has {len(tokens)} tokens, of which "
            f"{len(set(tokens))} differ, and {len(types)} token types; restore "
            "the file."
        )
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    digits = {"type": "Digits", "individual_digits": True}
    first = [digits] if _SPLITS_DIGITS[pre] else []
    begin = _id(metadata, "bos")
    begins = metadata.flag("tokenizer.ggml.add_bos_token", False)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": types[number] == _CONTROL,
            }
            for number, token in enumerate(tokens)
            if types[number] in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*first, byte_level],
        },
        "post_processor": _post_processor(tokens, begin if begins else None),
        # As the library writes one; decoding takes no notice of it.
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": _list(metadata, "tokenizer.ggml.merges", str),
        },
    }
    content = json.dumps(document, ensure_ascii=False).encode("utf-8")
    tokenizer_file.checked(content, vocabulary_size, metadata.place)
    template = metadata.values.get("tokenizer.chat_template")
    return content, TokenizerSettings(
        begin if begins else None,
        _id(metadata, "eos"),
        _id(metadata, "padding"),
        template if isinstance(template, str) else "",
    )


def _post_processor(
    tokens: list[str], begin: Optional[int]
) -> Optional[dict[str, Any]]:
    """Describes what puts a token before each text, if one is to be there."""
    if begin is None or begin >= len(tokens):
        return None
    token = tokens[begin]
    before = {"SpecialToken": {"id": token, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [before, text],
        "pair": [before, text, second],
        "special_tokens": {
            token: {"id": token, "ids": [begin], "tokens": [token]}
        },
    }


def _list(metadata: Settings, key: str, kind: type) -> list[Any]:
    values = metadata.values.get(key)
    if not isinstance(values, list) or not all(
        isinstance(value, kind) for value in values
    ):
        raise errors.DataError(
            f"{metadata.place} has no list {key}, of which its tokenizer is "
            "made; give a file with a tokenizer."
        )
    return values


def _id(metadata: Settings, name: str) -> Optional[int]:
    """Returns the id of a special token, `None` if there is none."""
    value = metadata.values.get(f"tokenizer.ggml.{name}_token_id")
    return value if isinstance(value, int) else None
