"""Lays a tokenizer beside an exported language model, and reads it there.

    tokenizer.json  as the library `tokenizers` has it
    language.json   special tokens, chat template, the model's positions

By them a program without the model's own folder turns text into ids and back.
"""

import dataclasses
import json
import os
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.tokenizer import SpecialTokens, Tokenizer
from tff_pipeline.files import durable

TOKENIZER = "tokenizer.json"
LANGUAGE = "language.json"


@dataclasses.dataclass(frozen=True)
class Language:
    """What turns text into the ids of a language model, and back.

    Attributes:
      tokenizer: The tokenizer.
      chat: The rules by which chats are written; `None` if the model has none.
      positions: The largest number of tokens of a text.
    """

    tokenizer: Tokenizer
    chat: Optional[Chat]
    positions: int


@dataclasses.dataclass(frozen=True)
class _Settings:
    begin: Optional[int]
    end: Optional[int]
    padding: Optional[int]


def write(
    folder: str,
    tokenizer: bytes,
    settings: SpecialTokens,
    *,
    chat_template: str,
    positions: int,
) -> None:
    """Writes the files.

    Args:
      folder: The folder, which exists.
      tokenizer: The content of the tokenizer's file.
      settings: The ids that begin, end and fill up texts.
      chat_template: The Jinja template of chats; empty if there is none.
      positions: The largest number of tokens of a text.

    Raises:
      RunDirectoryError: If they cannot be written.
    """
    durable.write_bytes(os.path.join(folder, TOKENIZER), tokenizer)
    stated = {
        "begin": settings.begin,
        "end": settings.end,
        "padding": settings.padding,
        "chat_template": chat_template,
        "positions": positions,
    }
    durable.write_text(
        os.path.join(folder, LANGUAGE), json.dumps(stated, indent=2) + "\n"
    )


def read(folder: str) -> Language:
    """Reads the files.

    Args:
      folder: The folder that holds them.

    Raises:
      ConfigError: If a package that reads them is not installed.
      DataError: If one is missing or damaged.
    """
    path = os.path.join(folder, LANGUAGE)
    try:
        with open(path, encoding="utf-8") as file:
            stated = json.load(file)
        positions = int(stated["positions"])
        template = str(stated["chat_template"])
        settings = _Settings(
            *(
                None if stated[name] is None else int(stated[name])
                for name in ("begin", "end", "padding")
            )
        )
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); export the model again."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise errors.DataError(
            f"{path} is damaged ({error}); export the model again."
        ) from None
    tokenizer = Tokenizer.from_file(os.path.join(folder, TOKENIZER), settings)
    chat = Chat(tokenizer, template, path) if template else None
    return Language(tokenizer, chat, positions)
