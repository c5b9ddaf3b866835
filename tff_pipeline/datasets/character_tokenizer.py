"""Makes an alphabet of characters a tokenizer of language models."""

from collections.abc import Iterable
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets import token_symbols
from tff_pipeline.datasets.characters import Alphabet
from tff_pipeline.datasets.sequences import PADDING

Array = npt.NDArray[Any]


class CharacterTokenizer:
    r"""Tokenizer whose tokens are characters, or the bytes of UTF-8.

    Example:
      >>> from tff_pipeline.datasets import characters
      >>> tokenizer = CharacterTokenizer(characters.utf8_bytes())
      >>> ids = tokenizer.encode("\N{EURO SIGN}5")
      >>> ids.tolist(), tokenizer.characters[ids].tolist()
      ([227, 131, 173, 54], [1, 0, 0, 1])
      >>> tokenizer.decode(ids) == "\N{EURO SIGN}5"
      True

    Attributes:
      begin: The id that begins a text.
      end: The id that ends a text; `None` if there is none.
      padding: The id that fills up short texts.
      symbols: The text of each id; b"" for the id of all characters that the
        alphabet lacks.
      characters: int32 [vocabulary_size], the number of characters (Unicode
        code points) of each id; 0 for the ids that begin, end or fill up.
        Summed over the ids of a text it is exactly the text's length.
    """

    def __init__(self, alphabet: Alphabet):
        """Makes the tokenizer.

        Args:
          alphabet: The alphabet, whose ids the tokenizer has.
        """
        self._alphabet = alphabet
        self.begin: Optional[int] = alphabet.begin
        self.end = alphabet.end
        self.padding = PADDING
        self.symbols = list(alphabet.symbols)
        if alphabet.encoding == "utf-8":
            # All ids, that of unknown characters too.
            self.characters = np.ones(len(self.symbols), np.int32)
            for number in (self.padding, self.begin, self.end):
                if number is not None:
                    self.characters[number] = 0
        else:
            self.characters = token_symbols.characters(self.symbols)

    @property
    def vocabulary_size(self) -> int:
        """The number of ids."""
        return len(self.symbols)

    def encode(self, text: str) -> Array:
        """Returns the tokens of a text, int32 [t], neither begun nor ended."""
        ids = self._alphabet.encode(text)
        return ids[1:] if self.end is None else ids[1:-1]

    def encode_batch(self, texts: Iterable[str]) -> list[Array]:
        """Returns the tokens of texts, for each int32 [t]."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of tokens; unknown characters are left out.

        Args:
          ids: Integers below `vocabulary_size`.
        """
        text = b"".join(self.symbols[number] for number in ids)
        return text.decode(errors="replace")
