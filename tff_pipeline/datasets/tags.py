"""Tags of entities as numbers, in the scheme BIO (IOB2)."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Tags:
    """The tags of a corpus, numbered: 0 for padding, 1 for O, then the rest.

    Each type of entity T has B-T for its first token and I-T for those after.

    Attributes:
      names: Of the tags, by number; "" is that of padding.
      kinds: int32 [tags], the type of entity, from 1; 0 where there is none.
      inside: bool [tags], whether it is an I-.
      begin_of: int32 [tags], of an I-T its B-T; of others themselves.
      legal: bool [tags, tags], which may follow which; from 0, which may come
        first. Only a word's, so nothing may lead to 0.
    """

    def __init__(self, names: Iterable[str]):
        """Takes the tags that occur; the types are theirs, in their order."""
        kinds = sorted({name[2:] for name in names} - {""})
        self.names = ["", "O"]
        for kind in kinds:
            self.names += [f"B-{kind}", f"I-{kind}"]
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
        """Where entities are.

        Args:
          tags: An int array [sentences, length] of legal tags, such as
            `tagging.legal_tags` gives.

        Returns:
          int64 [entities, 3]: the first token and the last, counted over all
          sentences, and the type.
        """
        # A column of padding, so that no entity goes on in the next sentence.
        flat = np.pad(tags, ((0, 0), (0, 1))).ravel()
        starts = np.flatnonzero((self.kinds[flat] > 0) & ~self.inside[flat])
        goes_on = np.append(self.inside[flat[1:]], False)
        ends = np.flatnonzero((self.kinds[flat] > 0) & ~goes_on)
        return np.stack([starts, ends, self.kinds[flat[starts]]], axis=-1)
