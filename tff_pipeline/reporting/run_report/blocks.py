"""What a section of a report is made of; the page's template writes it.

Text is plain text everywhere: the template escapes it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Optional, Union


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
      text: Its words.
      kind: "plain", "note" (of less weight), "good" or "warning".
    """

    text: str
    kind: str = "plain"


@dataclasses.dataclass(frozen=True)
class Preformatted:
    """Lines that stay as they are.

    Attributes:
      label: What they are, for those who cannot see the page.
      text: The lines.
    """

    label: str
    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, whose first column names the rows.

    Attributes:
      caption: What it shows.
      header: The names of the columns, the first column's too.
      rows: The cells, as many in each row as the header has.
      shades: How dark each cell is, 0 to 1, rows as in `rows` without their
        first cells; `None` where no cell is shaded.
      words: Whether the cells hold words, which begin at the left.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    shades: Optional[Sequence[Sequence[float]]] = None
    words: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
      title: What stands above it.
      svg: The picture, of `plots`; the only markup that is not escaped.
      text: What it shows in a sentence, for those who cannot see it.
    """

    title: str
    svg: str
    text: str


@dataclasses.dataclass(frozen=True)
class Figures:
    """Pictures side by side, where there is room.

    Attributes:
      figures: The pictures, in order.
    """

    figures: Sequence[Figure]


@dataclasses.dataclass(frozen=True)
class Fold:
    """Blocks that are seen once their summary is clicked.

    Attributes:
      summary: What is inside.
      blocks: The blocks.
    """

    summary: str
    blocks: Sequence["Block"]


Block = Union[Text, Preformatted, Table, Figures, Fold]


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
      title: Its heading.
      blocks: What stands below, in order.
    """

    title: str
    blocks: Sequence[Block]
