"""Reads instructions and answers to them, in JSON lines."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tff_pipeline import errors
from tff_pipeline.datasets.readers import json_files, json_values

_ROLES = ("system", "user", "assistant")
_FORM = (
    'an object with "client", "prompt" and "response", or with "client" and '
    '"messages"'
)


class Instruction(NamedTuple):
    """A chat with at least one answer.

    Attributes:
      client: The client's name.
      split: "train", "test" or "validation".
      messages: The messages, each {"role": ..., "content": ...}.
      where: The file and the place in it, for errors.
    """

    client: str
    split: str
    messages: list[dict[str, str]]
    where: str


def read(path: str) -> Iterator[Instruction]:
    """Yields the instructions of a file or a folder.

    Args:
      path: What `json_files.find` finds files in, gzipped or not. Each has JSON
        lines or a list of objects, {"client": ..., "prompt": ..., "response":
        ...} or {"client": ..., "messages": [{"role": ..., "content": ...},
        ...]}, whose roles are system, which is the first if it is there, user
        and assistant. Other fields are not read.

    Yields:
      The instructions, in the order of the files' names and of their lines.

    Raises:
      DataError: If a file is missing, damaged, or has something else, such as
        an empty answer; the message names the file and the place, and repeats
        nothing that a client wrote.
    """
    files = json_files.find(path)
    if not files:
        raise errors.DataError(
            f"{path} holds no instructions; it must be a file of JSON lines "
            "(.jsonl or .jsonl.gz) or a folder of such, each line "
            f"{_FORM}."
        )
    for file in files:
        content = json_files.content(file.path)
        if isinstance(content, dict):
            content = [content]
        if not isinstance(content, list) or not content:
            raise errors.DataError(
                f"{file.path} holds no instructions; each of its lines must be "
                f"{_FORM}."
            )
        for number, value in enumerate(content, start=1):
            place, value = (
                value
                if isinstance(value, tuple)
                else (f"object {number}", value)
            )
            where = f"{file.path}: {place}"
            yield _instruction(value, file.split, where)


def _instruction(value: Any, split: str, where: str) -> Instruction:
    if not isinstance(value, dict) or "client" not in value:
        raise _refusal(where, 'has no "client"', f"give {_FORM}")
    client = json_values.client_name(value["client"], where)
    if "messages" in value:
        messages = _messages(value["messages"], where)
    else:
        messages = [
            {"role": "user", "content": _text(value, "prompt", where)},
            {"role": "assistant", "content": _text(value, "response", where)},
        ]
    for message in messages:
        if message["role"] == "assistant" and not message["content"].strip():
            raise _refusal(
                where,
                "has an answer that is empty",
                "fill it in, or leave the example out",
            )
    return Instruction(client, split, messages, where)


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(
        isinstance(message, dict) for message in value
    ):
        raise _refusal(
            where,
            'has "messages" that are no list of objects',
            'give each {"role": ..., "content": ...}',
        )
    messages = []
    for message in value:
        role = message.get("role")
        if role not in _ROLES:
            raise _refusal(
                where,
                'has a message whose "role" is none that is known',
                f"use {', '.join(_ROLES)}",
            )
        messages.append(
            {"role": role, "content": _text(message, "content", where)}
        )
    roles = [message["role"] for message in messages]
    asked = roles[1:] if roles[:1] == ["system"] else roles
    if asked[:1] != ["user"] or "system" in asked:
        raise _refusal(
            where,
            "has messages that do not begin with the user's, after at most one "
            "of the system",
            "put them into this order",
        )
    if "assistant" not in asked:
        raise _refusal(
            where,
            "has messages without one of the assistant, from which nothing is "
            "learned",
            "add the answer, or leave the example out",
        )
    return messages


def _text(value: dict[str, Any], name: str, where: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        kind = "missing or null" if text is None else "no text"
        raise _refusal(where, f'has a "{name}" that is {kind}', f"give {_FORM}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refusal(
            where, f'has a "{name}" with half a character', "mend it"
        ) from None
    return text


def _refusal(where: str, what: str, remedy: str) -> errors.DataError:
    return errors.DataError(f"{where} {what}; {remedy}.")
