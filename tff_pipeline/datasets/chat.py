"""Writes chats as a base's template has them, and finds the answers in them.

A chat is a list of messages {"role": ..., "content": ...}. Its template is
Jinja, as in `tokenizer_config.json`, and is read as transformers reads it.

Answers are found in the text, never by the ids of a template's words, which
differ with what stands around them. The text up to an answer is the template's
own, written of the messages before it with the prompt to answer; the whole text
must go on from there. Then the whole text is tokenized at once, as it is when
the model is used, and an answer's tokens are those that begin in it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.packing import Document
from tff_pipeline.datasets.tokenizer import Tokenizer

Array = npt.NDArray[Any]
Message = Mapping[str, str]

ANSWERING = "assistant"

# What transformers calls a tag of its own, which changes no text.
_GENERATION = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")


class Chat:
    """Writes chats for one base.

    A message that spells a special token, such as "<|im_end|>", has this token,
    as in transformers: the template's cannot be told from it.

    Without a template, a chat is its messages joined by newlines, begun and
    ended by the tokenizer's `begin` and `end`; the end belongs to the last
    answer.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: str = "", source: str = "the base"
    ):
        """Reads a template.

        Args:
          tokenizer: The base's tokenizer.
          template: The base's chat template; empty if it has none.
          source: What the template belongs to, for errors.

        Raises:
          ConfigError: If the library jinja2 is not installed.
          DataError: If the template is no Jinja.
        """
        self.tokenizer = tokenizer
        self._source = source
        self._has_template = bool(template)
        self._write = (
            _compiled(template, tokenizer, source) if template else _plain
        )

    def render(self, messages: Sequence[Message], answer: bool) -> str:
        """Writes a chat as text.

        Args:
          messages: The messages, at least one.
          answer: Whether the text goes on with the prompt to answer.

        Raises:
          DataError: If the template refuses the messages.
        """
        return self._write(messages, answer)

    def prompt(self, messages: Sequence[Message]) -> Array:
        """Returns what the model is to continue with an answer.

        Args:
          messages: The messages, the last of which is to be answered.

        Returns:
          int32 [t], the tokens.

        Raises:
          DataError: If the template refuses the messages.
        """
        text = self.render(messages, answer=True)
        placed = self.tokenizer.encode_placed(text, self._has_template)
        return np.r_[self._begin(), placed.ids].astype(np.int32)

    def ends(self) -> list[int]:
        """Returns the ids that end an answer.

        Returns:
          The tokenizer's `end`, and the special token that the template writes
          after an answer, such as "<|im_end|>", if there are such.
        """
        ids = [] if self.tokenizer.end is None else [self.tokenizer.end]
        asked = [{"role": "user", "content": "Hello"}]
        answered = [*asked, {"role": ANSWERING, "content": "Hello"}]
        try:
            document = self.document(answered, "a chat")
        except errors.DataError:
            # A template that writes answers in some other way.
            return ids
        last = int(document.ids[document.weights > 0][-1])
        special = not self.tokenizer.symbols[last]
        return [*ids, last] if special and last not in ids else ids

    def document(self, messages: Sequence[Message], where: str) -> Document:
        """Returns a chat whose answers are to be predicted, nothing else.

        An answer is what the assistant writes and what ends it, such as
        "<|im_end|>", without the space after that. A token that begins before
        an answer and ends in it is not predicted: the model never has to write
        it.

        Args:
          messages: The messages; at least one is the assistant's, and none of
            these is the first.
          where: Their file and place, for errors.

        Raises:
          DataError: If the template refuses the messages or writes them so that
            answers cannot be found, or an answer has no token.
        """
        text = self._checked(messages, False, where)
        placed = self.tokenizer.encode_placed(text, self._has_template)
        weights = np.zeros(len(placed.ids), np.float32)
        for number, message in enumerate(messages):
            if message["role"] != ANSWERING:
                continue
            start, end = self._span(messages, number, text, where)
            answer = (placed.starts >= start) & (placed.starts < end)
            if not answer.any():
                raise errors.DataError(
                    f"{where} has an answer without a token, from which "
                    "nothing is learned; fill it in, or leave the example out."
                )
            weights[answer] = 1
        begin, end_ids = self._begin(), self._end(messages)
        return Document(
            np.r_[begin, placed.ids, end_ids].astype(np.int32),
            np.r_[[0] * len(begin), weights, [1] * len(end_ids)].astype(
                np.float32
            ),
        )

    def _begin(self) -> list[int]:
        begin = self.tokenizer.begin
        return [] if self._has_template or begin is None else [begin]

    def _end(self, messages: Sequence[Message]) -> list[int]:
        end = self.tokenizer.end
        if self._has_template or end is None:
            return []
        return [end] if messages[-1]["role"] == ANSWERING else []

    def _checked(
        self, messages: Sequence[Message], answer: bool, where: str
    ) -> str:
        try:
            return self.render(messages, answer)
        except errors.DataError as error:
            raise errors.DataError(f"{where}: {error}") from None

    def _span(
        self, messages: Sequence[Message], number: int, text: str, where: str
    ) -> tuple[int, int]:
        """Returns where an answer starts and ends in the whole chat's text."""
        before = self._checked(messages[:number], True, where)
        through = text
        if number + 1 < len(messages):
            through = self._checked(messages[: number + 1], False, where)
        if not (through.startswith(before) and text.startswith(through)):
            raise errors.DataError(
                f"{where}: The chat template of {self._source} writes message "
                f"{number + 1}, an answer, otherwise than after its prompt or "
                "when more messages follow, so that it cannot be found in the "
                "text; give chats of one answer, or a base with another "
                "template."
            )
        content = messages[number]["content"]
        end = len(through.rstrip())
        if through.startswith(content, len(before)):
            end = max(end, len(before) + len(content))
        return len(before), end


def _plain(messages: Sequence[Message], answer: bool) -> str:
    text = "\n".join(message["content"] for message in messages)
    return f"{text}\n" if answer else text


def _compiled(
    template: str, tokenizer: Tokenizer, source: str
) -> Callable[[Sequence[Message], bool], str]:
    """Compiles a template as transformers 4.46 does, but without a clock.

    `strftime_now` is left undefined, for which templates have a fixed date, so
    that a chat is the same text on every day.
    """
    try:
        import jinja2
        import jinja2.sandbox
    except ImportError:
        raise errors.ConfigError(
            "A base's chat template needs the package jinja2, which is not "
            "installed; run: pip install 'tff-pipeline[llm]'."
        ) from None
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
    )

    def as_json(value: Any, indent: Optional[int] = None) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    # Jinja's own escapes what would be HTML.
    environment.filters["tojson"] = as_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["bos_token"] = tokenizer.token(tokenizer.begin)
    environment.globals["eos_token"] = tokenizer.token(tokenizer.end)
    try:
        compiled = environment.from_string(_GENERATION.sub(_as_if, template))
    except jinja2.TemplateError as error:
        raise errors.DataError(
            f"The chat template of {source} is no Jinja ({error}); convert the "
            "model again, or mend its template."
        ) from None

    def write(messages: Sequence[Message], answer: bool) -> str:
        try:
            return compiled.render(
                messages=list(messages),
                add_generation_prompt=answer,
                tools=None,
                documents=None,
            )
        # A template may fail in any way.
        except Exception as error:
            reason = _without(messages, str(error))
            raise errors.DataError(
                f"The chat template of {source} refuses the messages "
                f"({reason or type(error).__name__}); give roles in the order "
                "that it has, most often user and assistant in turn."
            ) from None

    return write


def _as_if(tag: re.Match[str]) -> str:
    """Replaces a tag `generation` by an `if`, which is always true."""
    return f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}"


def _without(messages: Sequence[Message], reason: str) -> str:
    """Returns a template's reason, or "" if it repeats what a message says."""
    said = (message["content"] for message in messages)
    return "" if any(each and each in reason for each in said) else reason
