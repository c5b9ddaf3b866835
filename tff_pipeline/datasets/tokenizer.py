"""Turns text into the tokens of a pretrained language model, and back.

A wrapper of the library `tokenizers`, which reads `tokenizer.json` of all
kinds: byte-level BPE (GPT-2, Llama 3, SmolLM2), SentencePiece's (Llama 2) and
WordPiece (BERT).
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Optional, Protocol

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets import token_symbols

Array = npt.NDArray[Any]

# More than any model has: a damaged file may have ids of 4,000,000,000.
_MOST_TOKENS = 2**24


class SpecialTokens(Protocol):
    """What a base says of its tokenizer beside `tokenizer.json`.

    `models.transformer.base.TokenizerSettings` is such.

    Attributes:
      begin: The id that begins a text; `None` if texts have no beginning.
      end: The id that ends a text, or parts two texts; `None` if there is none.
      padding: The id that fills up short texts; `None` if there is none.
    """

    @property
    def begin(self) -> Optional[int]: ...

    @property
    def end(self) -> Optional[int]: ...

    @property
    def padding(self) -> Optional[int]: ...


class Placed(NamedTuple):
    """Tokens of a text, and where they lie.

    Attributes:
      ids: int32 [t].
      starts: int64 [t], the place in the text of each token's first character.
        Tokens that share a character share its place.
    """

    ids: Array
    starts: Array


class Words(NamedTuple):
    """Tokens of a sentence's words.

    Attributes:
      ids: int32 [t].
      words: int32 [t], the word of each token, from 0.
    """

    ids: Array
    words: Array


class Tokenizer:
    """Tokenizer of a language model.

    What a user writes is text: a user who spells a special token, such as
    "<|endoftext|>", gets the tokens of these letters, unless `encode_placed` is
    told to read special tokens. No method adds special tokens, truncates or
    pads, whatever the file says.

    Attributes:
      begin: The id that begins a text; `None` if texts have no beginning.
      end: The id that ends a text, or parts two texts; `None` if there is none.
      padding: The id that fills up short texts; `end`, or else 0, if the base
        has none.
      unknown: The id of text that the vocabulary lacks; `None` if there is
        none.
      symbols: The text of each id, see `token_symbols.symbols`.
      characters: int32 [vocabulary_size], the number of characters (Unicode
        code points) of each id, 0 for special tokens. Summed over the ids of a
        text it is the text's length, exactly for byte-level BPE that has all
        256 bytes and neither a normalizer nor a prefix of a space. Otherwise it
        is not exact: a character whose first byte the vocabulary lacks counts
        0 (SmolLM2 lacks those of six control characters and of planes that are
        not assigned), as do unknown words; a normalizer such as NFC may change
        the number; SentencePiece puts a space before a text; and WordPiece
        counts the letters of words, not the spaces between.
    """

    def __init__(
        self,
        content: bytes,
        settings: SpecialTokens,
        *,
        source: str,
        embeddings: Optional[int] = None,
    ):
        """Reads the content of a `tokenizer.json`.

        Args:
          content: The file's content.
          settings: The ids that begin, end and fill up texts.
          source: What holds the content, for errors, such as the file's path.
          embeddings: The number of tokens that the model knows, if all ids must
            be below it.

        Raises:
          ConfigError: If the library `tokenizers` is not installed.
          DataError: If the content is no tokenizer, or has ids that the model
            does not know, of 2**24 or more, or lacks those of `settings`.
        """
        library = library_tokenizers()
        try:
            description = json.loads(content)
            # Texts are begun, ended, cut and padded by us, and a post-processor
            # may take spaces off the tokens' places.
            for part in ("post_processor", "truncation", "padding"):
                description[part] = None
            self._library = library.Tokenizer.from_str(json.dumps(description))
        # The library raises bare `Exception`s.
        except Exception as error:
            raise errors.DataError(
                f"{source} is no tokenizer.json that the package tokenizers "
                f"{library.__version__} can read ({str(error)[:200]}); convert "
                "the model again, or install a newer tokenizers."
            ) from None
        vocabulary = self._library.get_vocab(with_added_tokens=True)
        _check_ids(
            max(vocabulary.values(), default=-1) + 1,
            settings,
            source,
            embeddings,
        )
        self.symbols = token_symbols.symbols(description, vocabulary)
        self.characters = token_symbols.characters(self.symbols)
        self.begin = settings.begin
        self.end = settings.end
        self.padding: int = next(
            number
            for number in (settings.padding, settings.end, 0)
            if number is not None
        )
        # Unigram has a number, the others have a token, by default or not.
        self.unknown: Optional[int] = description["model"].get("unk_id")
        unknown = getattr(self._library.model, "unk_token", None)
        if unknown is not None:
            # The library does not look among tokens that were added.
            if unknown not in self._library.get_vocab(with_added_tokens=False):
                raise errors.DataError(
                    f"{source} names an unknown token that is not in its "
                    "vocabulary; convert the model again."
                )
            self.unknown = vocabulary[unknown]

    @classmethod
    def from_file(
        cls,
        path: str,
        settings: SpecialTokens,
        embeddings: Optional[int] = None,
    ) -> "Tokenizer":
        """Reads a `tokenizer.json`.

        Args:
          path: The file.
          settings: The ids that begin, end and fill up texts.
          embeddings: The number of tokens that the model knows, if all ids must
            be below it.

        Raises:
          ConfigError: If the library `tokenizers` is not installed.
          DataError: If the file cannot be read, is no tokenizer, or has ids
            that the model does not know.
        """
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise errors.DataError(
                f"{path} cannot be read ({error.strerror}); it must be the "
                "tokenizer.json of a base."
            ) from None
        return cls(content, settings, source=path, embeddings=embeddings)

    @property
    def vocabulary_size(self) -> int:
        """The largest id and one."""
        return len(self.symbols)

    def encode(self, text: str) -> Array:
        """Returns the tokens of a text, int32 [t]."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Iterable[str]) -> list[Array]:
        """Returns the tokens of texts, for each int32 [t]."""
        self._library.encode_special_tokens = True
        return [
            np.array(encoding.ids, np.int32)
            for encoding in self._library.encode_batch(list(texts))
        ]

    def encode_placed(self, text: str, special_tokens: bool) -> Placed:
        """Returns the tokens of a text with their places in it.

        Args:
          text: The text.
          special_tokens: Whether what spells a special token is one, as in a
            chat that a template has written.
        """
        self._library.encode_special_tokens = not special_tokens
        encoding = self._library.encode(text)
        starts = np.array(encoding.offsets, np.int64).reshape(-1, 2)[:, 0]
        return Placed(np.array(encoding.ids, np.int32), starts)

    def encode_words(self, sentences: Iterable[Sequence[str]]) -> list[Words]:
        """Returns the tokens of sentences that are words already.

        Args:
          sentences: The words of each.
        """
        self._library.encode_special_tokens = True
        encodings = self._library.encode_batch(
            [list(words) for words in sentences], is_pretokenized=True
        )
        return [
            Words(
                np.array(encoding.ids, np.int32),
                np.array(encoding.word_ids, np.int32),
            )
            for encoding in encodings
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of tokens; special tokens are left out.

        Args:
          ids: Integers below `vocabulary_size`.
        """
        return self._library.decode(
            [int(number) for number in ids], skip_special_tokens=True
        )

    def token(self, number: Optional[int]) -> str:
        """Returns how a token is written; "" for `None` and unused ids."""
        if number is None:
            return ""
        return self._library.id_to_token(number) or ""


def _check_ids(
    size: int, settings: SpecialTokens, source: str, embeddings: Optional[int]
) -> None:
    if size > (_MOST_TOKENS if embeddings is None else embeddings):
        raise errors.DataError(
            f"{source} has ids of tokens up to {size - 1}, but the model has "
            f"embeddings of {embeddings or _MOST_TOKENS} or fewer; give the "
            "tokenizer that belongs to the model."
        )
    for name in ("begin", "end", "padding"):
        number = getattr(settings, name)
        if number is not None and not 0 <= number < size:
            raise errors.DataError(
                f"{source} has ids of tokens up to {size - 1}, so that none is "
                f"{number}, which is to be its token of {name}; give the "
                "tokenizer that belongs to the model."
            )


def library_tokenizers() -> Any:
    """Imports the package `tokenizers`.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise errors.ConfigError(
            "Text of language models needs the package tokenizers, which is "
            "not installed; run: pip install 'tff-pipeline[llm]'."
        ) from None
    return tokenizers
