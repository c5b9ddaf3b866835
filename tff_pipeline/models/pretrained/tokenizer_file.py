"""Reads and checks the tokenizer that lies beside a checkpoint's weights."""

import json
import os
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.models.pretrained import libraries, settings_file
from tff_pipeline.models.pretrained.settings_file import Settings
from tff_pipeline.models.transformer.base import TokenizerSettings

_FILE = "tokenizer.json"
# Settings of a base -> the names that Hugging Face's files have for them.
_SPECIAL = {
    "begin": ("bos_token", "cls_token"),
    "end": ("eos_token", "sep_token"),
    "padding": ("pad_token",),
}


def checked(content: bytes, vocabulary_size: int, place: str) -> Any:
    """Reads a tokenizer and checks that a model has a vector for each token.

    Args:
      content: What `tokenizer.json` holds.
      vocabulary_size: The number of token ids that the model has.
      place: The file, for errors.

    Returns:
      The `tokenizers.Tokenizer`.

    Raises:
      ConfigError: If the package tokenizers is not installed.
      DataError: If it is no tokenizer, or has larger ids than the model.
    """
    tokenizers = libraries.load("tokenizers", place)
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    # The library raises nothing narrower.
    except Exception as error:
        words = " ".join(str(error).split())[:100]
        raise errors.DataError(
            f"{place} holds no tokenizer that tokenizers "
            f"{tokenizers.__version__} can read ({words}); restore it."
        ) from None
    largest = max(tokenizer.get_vocab(True).values(), default=-1)
    if largest >= vocabulary_size:
        raise errors.DataError(
            f"{place} has tokens of ids up to {largest}, and the model has "
            f"vectors for {vocabulary_size}, ids 0 to {vocabulary_size - 1}; "
            "give the tokenizer that belongs to the weights."
        )
    return tokenizer


def read(
    folder: str, vocabulary_size: int
) -> tuple[Optional[bytes], TokenizerSettings]:
    """Reads the tokenizer of a Hugging Face folder.

    Args:
      folder: The folder.
      vocabulary_size: The number of token ids that the model has.

    Returns:
      The content of `tokenizer.json`, without padding and truncation to fixed
      lengths, or `None` if it is not there; and the special tokens. A text has
      a beginning only if the tokenizer puts one there.

    Raises:
      ConfigError: If the package tokenizers is not installed.
      DataError: If a file is damaged, or does not fit the model.
    """
    path = os.path.join(folder, _FILE)
    if not os.path.isfile(path):
        return None, TokenizerSettings()
    with open(path, "rb") as file:
        content = _without_lengths(file.read(), path)
    tokenizer = checked(content, vocabulary_size, path)
    config = settings_file.load_if_there(
        os.path.join(folder, "tokenizer_config.json")
    )
    tokens = settings_file.load_if_there(
        os.path.join(folder, "special_tokens_map.json")
    )
    ids = {
        setting: next(
            (
                number
                for name in names
                for each in (config, tokens)
                if (number := _id(each.values.get(name), tokenizer)) is not None
            ),
            None,
        )
        for setting, names in _SPECIAL.items()
    }
    first = tokenizer.encode("").ids[:1]
    if not config.flag("add_bos_token", first == [ids["begin"]]):
        ids["begin"] = None
    return content, TokenizerSettings(
        **ids, chat_template=_chat_template(folder, config)
    )


def _without_lengths(content: bytes, path: str) -> bytes:
    """Removes the padding and truncation of one use of a tokenizer.

    Whoever uses it pads and cuts to lengths of their own.
    """
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
    except (ValueError, RecursionError) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); restore it."
        ) from None
    if values.get("truncation") is None and values.get("padding") is None:
        return content
    values.update(truncation=None, padding=None)
    return json.dumps(values, ensure_ascii=False).encode("utf-8")


def _id(token: Any, tokenizer: Any) -> Optional[int]:
    """Returns the id of a special token: text, or an object with `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return tokenizer.token_to_id(token) if isinstance(token, str) else None


def _chat_template(folder: str, config: Settings) -> str:
    """Returns the template of chats, which has been kept in three places."""
    path = os.path.join(folder, "chat_template.jinja")
    if os.path.isfile(path):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read()
        except (OSError, ValueError) as error:
            raise errors.DataError(
                f"{path} cannot be read ({error}); restore it."
            ) from None
    template = config.values.get("chat_template") or ""
    if isinstance(template, list):
        # One for each use; the others are for tools and documents.
        template = next(
            (
                each.get("template")
                for each in template
                if isinstance(each, dict) and each.get("name") == "default"
            ),
            "",
        )
    if not isinstance(template, str):
        raise errors.DataError(
            f"{config.place} has a chat_template that is no text; restore it."
        )
    return template
