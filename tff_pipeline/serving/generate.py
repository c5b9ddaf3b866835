"""Answers requests to write text.

    POST /v1/models/NAME:generate
    {"prompt": "To be", "length": 100, "temperature": 0.8, "top_p": 0.95,
     "seed": 0}
    {"messages": [{"role": "user", "content": "What is it?"}], ...}

are answered by {"text": "...", "tokens": 57}: what follows the prompt, or the
answer; and how many tokens that is, where the server counts them.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.language import decoded
from tff_pipeline.datasets.text_files import Language
from tff_pipeline.serving import request
from tff_pipeline.serving.answering import LARGE, Answering
from tff_pipeline.serving.batching import Batcher
from tff_pipeline.serving.bodies import Bodies
from tff_pipeline.serving.model import Model
from tff_pipeline.serving.refusal import Refusal
from tff_pipeline.serving.request import Request
from tff_pipeline.serving.writing import Writing

Array = npt.NDArray[Any]

_PROMPT, _MESSAGES = "prompt", "messages"
# Of a text of any length, so that one request does not keep all others waiting
# for ever.
_MOST = 10_000


@dataclasses.dataclass(frozen=True)
class _Setting:
    kinds: tuple[type, ...]
    test: Callable[[Any], bool]
    words: str
    default: Any


_SETTINGS = {
    "length": _Setting(
        (int,), lambda v: 1 <= v <= _MOST, f"from 1 to {_MOST}", 100
    ),
    "temperature": _Setting(
        (int, float), lambda v: 0 <= v <= 1e6, "from 0 to 1000000", 0.8
    ),
    "top_p": _Setting(
        (int, float), lambda v: 0 < v <= 1, "above 0 and at most 1", 0.95
    ),
    "seed": _Setting(
        (int,), lambda v: 0 <= v < 2**31, "from 0 to 2147483647", 0
    ),
}


class Generate(Answering):
    """Answers `:generate`, as an ASGI application."""

    def __init__(self, model: Model, batcher: Batcher, bodies: Bodies):
        """Connects the parts of an answer.

        Args:
          model: The loaded model.
          batcher: The batcher that calls it.
          bodies: The limits on requests' bodies.
        """
        super().__init__(bodies)
        self._model = model
        self._batcher = batcher

    async def _answer(self, body: bytes) -> bytes:
        writing = self._model.writing
        if writing is None:
            raise Refusal(
                404,
                f"The model {self._model.place.name} writes no text; ask it "
                "by :predict.",
            )
        asked = await self._aside(
            len(body) > LARGE,
            lambda: _decode(body, writing),
        )
        outputs = await self._batcher.run(
            Request(
                self._model.signatures[writing.signature],
                asked.arrays,
                None,
                False,
            )
        )
        return _encode(outputs, asked, writing)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Holds what is asked: the inputs, and what the text goes on from."""

    arrays: Mapping[str, Array]
    text: str = ""
    ids: Sequence[int] = ()


def _decode(body: bytes, writing: Writing) -> _Asked:
    content = request.parse(body)
    if not isinstance(content, dict):
        raise Refusal(
            400,
            'The body must be a JSON object: {"prompt": "..."} or '
            '{"messages": [...]}.',
        )
    known = [_PROMPT, _MESSAGES, *_SETTINGS]
    for name in content:
        if name not in known:
            raise Refusal(
                400,
                f"The body has {name[:60]!r}, which is none of: "
                f"{', '.join(known)}.",
            )
    if (_PROMPT in content) == (_MESSAGES in content):
        raise Refusal(
            400,
            "The body must have one of 'prompt' (a text to go on from) and "
            "'messages' (a chat to answer), and not both.",
        )
    values = {
        name: _checked(name, content.get(name, setting.default), setting)
        for name, setting in _SETTINGS.items()
    }
    settings: dict[str, Array] = {
        "length": np.array(values["length"], np.int32),
        "temperature": np.array(values["temperature"], np.float32),
        "seed": np.array(values["seed"], np.int32),
    }
    language = writing.language
    if language is None:
        return _of_text(content, settings)
    ids = _ids(content, language)
    if not ids:
        raise Refusal(400, "The prompt has no token; give some text.", _PROMPT)
    if len(ids) + values["length"] > language.positions:
        raise Refusal(
            400,
            f"The prompt of {len(ids):,} tokens and 'length' {values['length']}"
            f" do not fit the {language.positions:,} positions of the model; "
            "shorten either.",
        )
    arrays = {
        **settings,
        "prompts": np.array([ids], np.int32),
        "counts": np.array([len(ids)], np.int32),
        "top_p": np.array(values["top_p"], np.float32),
    }
    return _Asked(arrays, ids=ids)


def _checked(name: str, value: Any, setting: _Setting) -> Any:
    # A bool is an int to Python.
    fits = isinstance(value, setting.kinds) and not isinstance(value, bool)
    if not fits or not setting.test(value):
        whole = "a whole number " if setting.kinds == (int,) else "a number "
        raise Refusal(400, f"{name!r} must be {whole}{setting.words}.", name)
    return value


def _of_text(
    content: Mapping[str, Any], settings: Mapping[str, Array]
) -> _Asked:
    """Reads a request to a graph that takes text."""
    if _MESSAGES in content:
        raise _no_messages()
    if content.get("top_p", 1) != 1:
        raise Refusal(
            400, "'top_p' is not known to this model; leave it out.", "top_p"
        )
    text = _text(content[_PROMPT])
    arrays = {**settings, "prompt": np.array([text.encode()], object)}
    return _Asked(arrays, text)


def _ids(content: Mapping[str, Any], language: Language) -> list[int]:
    if _PROMPT in content:
        begin = language.tokenizer.begin
        ids = language.tokenizer.encode(_text(content[_PROMPT])).tolist()
        return ids if begin is None else [begin, *ids]
    if language.chat is None:
        raise _no_messages()
    messages = content[_MESSAGES]
    if (
        not isinstance(messages, list)
        or not messages
        or not all(
            isinstance(each, dict)
            and each.keys() == {"role", "content"}
            and all(isinstance(text, str) for text in each.values())
            for each in messages
        )
    ):
        raise Refusal(
            400,
            "'messages' must be a list of one or more objects with the texts "
            "'role' and 'content'.",
            _MESSAGES,
        )
    try:
        return language.chat.prompt(messages).tolist()
    except errors.DataError as error:
        raise Refusal(400, str(error), _MESSAGES) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refusal(400, "'prompt' must be a text.", _PROMPT)
    return value


def _no_messages() -> Refusal:
    return Refusal(
        400,
        "The model has no chat template, so it does not know 'messages'; give "
        "a 'prompt' to go on from.",
        _MESSAGES,
    )


def _encode(
    outputs: Mapping[str, Array], asked: _Asked, writing: Writing
) -> bytes:
    if writing.language is None:
        text = outputs["text"][0].decode(errors="replace")
        return request.dumps({"text": text[len(asked.text) :]})
    count = int(outputs["counts"][0])
    added = outputs["ids"][0, :count].tolist()
    return request.dumps(
        {
            "text": decoded(writing.language.tokenizer, asked.ids, added),
            "tokens": count,
        }
    )
