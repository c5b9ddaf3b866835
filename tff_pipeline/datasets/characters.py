"""Alphabets: what a character's id is, in training and in a served model."""

import dataclasses
import string
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The symbols of TFF's `tff.simulation.baselines.shakespeare`. Their order
# there is another, which changes no figure.
_REDDI = sorted(
    "\n\r !\"#$%&'()*,-./:;?@[]_" + string.digits + string.ascii_letters
)


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Ids of characters; 0 is padding.

    Attributes:
      encoding: As what the bytes of UTF-8 are read, by a name that Python and
        TensorFlow know; latin-1 makes every byte a character.
      ids: Of shape [n]: the ids of code points 0, 1, ...; the last is
        that of all from there on.
      symbols: What each id stands for; empty where that is no character.
      begin: The id that begins a text.
      end: The id that ends it, or `None`.
    """

    encoding: str
    ids: Array
    symbols: Sequence[bytes]
    begin: int
    end: Optional[int] = None

    def encode(self, text: str) -> Array:
        """The text's ids with those that begin and end it, int32 [t]."""
        read = text.encode("utf-8").decode(self.encoding)
        points = np.frombuffer(read.encode("utf-32-le"), "<u4")
        ids = self.ids[np.minimum(points, len(self.ids) - 1)]
        ends = [] if self.end is None else [self.end]
        return np.concatenate([[self.begin], ids, ends]).astype(np.int32)


def reddi() -> Alphabet:
    """90 ids: padding, 86 characters, one for all others, begin and end.

    Reddi et al. 2021, appendix C.3, in TFF's numbering of the special ones.
    """
    unknown = len(_REDDI) + 1
    ids = np.full(129, unknown)
    for number, character in enumerate(_REDDI, start=1):
        ids[ord(character)] = number
    symbols = [b"", *(each.encode() for each in _REDDI), b"", b"", b""]
    return Alphabet("utf-8", ids, symbols, unknown + 1, unknown + 2)


def of_bytes() -> Alphabet:
    """258 ids: padding, the 256 values of a byte, and begin.

    As many as explain the parameters that McMahan et al. 2017 state.
    """
    ids = np.minimum(np.arange(257) + 1, 256)
    symbols = [b"", *(bytes([value]) for value in range(256)), b""]
    return Alphabet("latin-1", ids, symbols, 257)
