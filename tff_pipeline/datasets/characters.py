"""Alphabets: ids of characters, in training and in a served model."""

import dataclasses
import string
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The symbols of TFF's `tff.simulation.baselines.shakespeare`, in another order,
# which changes no figure.
_REDDI = sorted(
    "\n\r !\"#$%&'()*,-./:;?@[]_" + string.digits + string.ascii_letters
)


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Ids of characters; 0 is padding.

    Attributes:
      encoding: The encoding in which the bytes of UTF-8 are read, by a name
        that Python and TensorFlow know; latin-1 makes every byte a character.
      ids: Ids of the code points 0, 1, ..., of shape [n]; the last is the id
        of all code points from n - 1 on.
      symbols: The character of each id; empty if the id stands for none.
      begin: The id that begins a text.
      end: The id that ends a text; `None` if there is none.
    """

    encoding: str
    ids: Array
    symbols: Sequence[bytes]
    begin: int
    end: Optional[int] = None

    def encode(self, text: str) -> Array:
        """Encodes a text, with the ids that begin and end it.

        Example:
          >>> utf8_bytes().encode("ab").tolist()
          [257, 98, 99]

        Args:
          text: The text.

        Returns:
          int32 [t], the ids.
        """
        decoded = text.encode("utf-8").decode(self.encoding)
        points = np.frombuffer(decoded.encode("utf-32-le"), "<u4")
        ids = self.ids[np.minimum(points, len(self.ids) - 1)]
        ends = [] if self.end is None else [self.end]
        return np.concatenate([[self.begin], ids, ends]).astype(np.int32)


def reddi() -> Alphabet:
    """Builds the alphabet of Reddi et al. 2021, appendix C.3, of 90 ids.

    They are padding, 86 characters, one id for all other characters, begin and
    end; the last three are numbered as TFF does.

    Example:
      >>> reddi().encode("\N{EURO SIGN}").tolist()
      [88, 87, 89]
    """
    unknown = len(_REDDI) + 1
    ids = np.full(129, unknown)
    for number, character in enumerate(_REDDI, start=1):
        ids[ord(character)] = number
    symbols = [b"", *(each.encode() for each in _REDDI), b"", b"", b""]
    return Alphabet("utf-8", ids, symbols, unknown + 1, unknown + 2)


def utf8_bytes() -> Alphabet:
    """Builds the alphabet of the bytes of UTF-8, of 258 ids.

    They are padding, the 256 values of a byte, and begin. A model with so many
    has the number of parameters that McMahan et al. 2017 state.
    """
    ids = np.minimum(np.arange(257) + 1, 256)
    symbols = [b"", *(bytes([value]) for value in range(256)), b""]
    return Alphabet("latin-1", ids, symbols, 257)
