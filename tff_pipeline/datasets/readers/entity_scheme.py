"""Reads tags of entities in the schemes that corpora have, and makes them BIO.

Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning"
(IOB1); Ratinov and Roth 2009, "Design Challenges and Misconceptions in Named
Entity Recognition" (BILOU, of which IOBES and BMES are other spellings).
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

_TAG = re.compile(r"([BIMESLU])(?:[-_](\S+))?|O", re.IGNORECASE)
# First tokens, whatever stands before them.
_FIRST = "BSU"
# Last tokens: an entity does not go on after them.
_LAST = "ESLU"


class Tag(NamedTuple):
    """A tag's parts.

    Attributes:
      place: "O", or the token's place in its entity, one of B, I, M, E, S, L
        and U.
      kind: The entity's type; "" for O, and for a tag without one.
    """

    place: str
    kind: str


def parse(text: str) -> Optional[Tag]:
    """Returns the parts of a tag, or `None` if it is none.

    Example:
      >>> parse("b-per"), parse("O"), parse("S"), parse("NNP")
      (Tag(place='B', kind='per'), Tag(place='O', kind=''), Tag(place='S', \
kind=''), None)

    Args:
      text: The cell of a column file.
    """
    match = _TAG.fullmatch(text)
    if match is None:
        return None
    return Tag((match[1] or "O").upper(), match[2] or "")


@dataclasses.dataclass
class Scheme:
    """Makes tags BIO, and counts what tells in which scheme they were.

    Attributes:
      places: The letters of `Tag.place` that occurred.
      begun: The number of entities that start with B- where IOB1 would have
        I-.
      inside: The number of entities that start with I-.
    """

    places: set[str] = dataclasses.field(default_factory=set)
    begun: int = 0
    inside: int = 0

    def to_bio(self, tags: Iterable[Tag]) -> list[str]:
        """Converts the tags of a sentence.

        Example:
          >>> Scheme().to_bio(map(parse, ["I-LOC", "O", "B-PER", "E-PER"]))
          ['B-LOC', 'O', 'B-PER', 'I-PER']

        Args:
          tags: The tags, in any of the schemes.

        Returns:
          Tags in BIO: every entity starts with B-, or with B if types have no
          names.
        """
        bio, open_kind = [], None
        before = None
        for place, kind in tags:
            self.places.add(place)
            if place == "O":
                bio.append("O")
                open_kind = before = None
                continue
            starts = place in _FIRST or kind != open_kind
            self.begun += place == "B" and kind != before
            self.inside += place not in _FIRST and starts
            name = "B" if starts else "I"
            bio.append(f"{name}-{kind}" if kind else name)
            open_kind = None if place in _LAST else kind
            before = kind
        return bio

    @property
    def name(self) -> Optional[str]:
        """The scheme by the majority of entities; `None` without entities."""
        if self.places & set("LU"):
            return "BILOU"
        if "M" in self.places:
            return "BMES"
        if self.places & set("ES"):
            return "IOBES"
        if not self.begun and not self.inside:
            return None
        return "IOB1" if self.inside > self.begun else "BIO"


def describe(schemes: Sequence[tuple[str, Scheme]]) -> str:
    """Says in which schemes files are, and how many entities are in another.

    Example:
      >>> scheme = Scheme()
      >>> _ = scheme.to_bio([Tag("I", "LOC"), Tag("B", "LOC")])
      >>> describe([("eng.train", scheme)])
      'IOB1, converted to BIO'

    Args:
      schemes: (file's name, its scheme) of each file.
    """
    files: dict[str, list[str]] = {}
    for file, scheme in schemes:
        if scheme.name is not None:
            files.setdefault(scheme.name, []).append(file)
    words = []
    for name, among in files.items():
        text = name if name == "BIO" else f"{name}, converted to BIO"
        if len(files) > 1:
            rest = f" and {len(among) - 3} more" if len(among) > 3 else ""
            text += f" in {', '.join(among[:3])}{rest}"
        words.append(text)
    odd_inside = sum(s.inside for _, s in schemes if s.name != "IOB1")
    odd_begun = sum(s.begun for _, s in schemes if s.name == "IOB1")
    if odd_inside:
        words.append(f"where {odd_inside} entities start with I-, read as B-")
    if odd_begun:
        words.append(
            f"where {odd_begun} entities start with B- after none of their type"
        )
    return ", ".join(words) or "BIO"
