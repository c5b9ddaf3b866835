"""Numbers the tags of entities, in the scheme BIO (IOB2)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Tags:
    """The tags of a corpus, numbered: 0 for padding, 1 for O, then the others.

    An entity of the type T has B-T for its first token and I-T for the others,
    or B and I where the only type has no name.

    Example:
      >>> Tags(["B-PER", "O", "I-LOC"]).names
      ['', 'O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER']
      >>> Tags(["B", "O"]).names
      ['', 'O', 'B', 'I']

    Attributes:
      names: The tags' names by number; "" for padding.
      kinds: int32 [tags], the number of the type of entity, from 1; 0 for
        padding and O.
      inside: bool [tags], true for I- tags.
      begin_of: int32 [tags], the number of B-T for an I-T, and of the tag
        itself for all others.
      legal: bool [tags, tags], true if the second tag may follow the first;
        the first row tells which may come first. No tag leads to padding.
    """

    def __init__(self, names: Iterable[str]):
        """Numbers the tags of all types that occur, in alphabetical order.

        Args:
          names: Tags such as "O", "B-PER" and "I-PER", repeated or not.
        """
        # "-T" of B-T and I-T, and "" of B and I.
        kinds = sorted({name[1:] for name in names if name not in ("", "O")})
        self.names = ["", "O"]
        for kind in kinds:
            self.names += [f"B{kind}", f"I{kind}"]
        self.kinds = np.array(
            [0, 0, *np.repeat(np.arange(len(kinds)) + 1, 2)], np.int32
        )
        numbers = np.arange(len(self.names), dtype=np.int32)
        self.inside = (numbers >= 2) & (numbers % 2 == 1)
        self.begin_of = numbers - self.inside
        same = self.kinds[:, np.newaxis] == self.kinds
        self.legal = (same | ~self.inside) & (numbers > 0)

    def __len__(self) -> int:
        return len(self.names)

    def entities(self, tags: Array) -> Array:
        """Finds the entities of sentences.

        Example:
          >>> tags = Tags(["B-PER", "I-PER"])
          >>> tags.entities(np.array([[1, 2, 3], [2, 1, 0]])).tolist()
          [[1, 2, 1], [4, 4, 1]]

        Args:
          tags: Numbers of tags, int [sentences, length], in a legal order, as
            `tagging.legal_tags` returns them.

        Returns:
          int64 [entities, 3]: the places of the first and the last token, and
          the type's number. Places are counted over sentences of length + 1.
        """
        # With a column of padding no entity continues in the next sentence.
        flat = np.pad(tags, ((0, 0), (0, 1))).ravel()
        starts = np.flatnonzero((self.kinds[flat] > 0) & ~self.inside[flat])
        goes_on = np.append(self.inside[flat[1:]], False)
        ends = np.flatnonzero((self.kinds[flat] > 0) & ~goes_on)
        return np.stack([starts, ends, self.kinds[flat[starts]]], axis=-1)
