"""Splits the lines of a column file into tokens, sentences and documents."""

import array
import re
from collections.abc import Sequence

from tff_pipeline import errors
from tff_pipeline.datasets.readers import entity_scheme

_DOCUMENT = "-DOCSTART-"
_DOCUMENT_COMMENT = re.compile(r"#\s*(begin document|newdoc)\b")
_NUMBER = re.compile(r"\d{1,9}")


class Tokens:
    """The first two and the last two cells of every token, as they stand.

    What they are is only known at the file's end: whether the first numbers
    tokens, and which is the tag.

    Attributes:
      cells: For each of the four columns, the cells of all tokens.
      lines: The number of each token's line.
      ends: For each sentence, the number of tokens up to its end.
      documents: For each sentence, the number of its document.
      document_count: The number of lines that start a document.
      width: The number of columns.
      comments: The number of lines that are comments.
      form: What file it is, if it is no column file, in a few words.
    """

    def __init__(self) -> None:
        self.cells: tuple[list[str], ...] = ([], [], [], [])
        self.lines = array.array("q")
        self.ends = [0]
        self.documents: list[int] = []
        self.document_count = 0
        self.width = 0
        self.comments = 0
        self.form = ""
        # One string for equal cells: a corpus has few different ones.
        self._same: dict[str, str] = {}

    def add(self, line: int, cells: Sequence[str]) -> None:
        """Adds a token; `cells` are at least two."""
        self.lines.append(line)
        chosen = cells[0], cells[1], cells[-2], cells[-1]
        for column, cell in zip(self.cells, chosen):
            column.append(self._same.setdefault(cell, cell))

    def end_sentence(self) -> None:
        """Ends a sentence, unless it is empty."""
        if len(self.lines) > self.ends[-1]:
            self.ends.append(len(self.lines))
            # Sentences before the first -DOCSTART- are a document as well.
            self.documents.append(max(self.document_count - 1, 0))

    @property
    def in_sentence(self) -> bool:
        """Whether the sentence has a token yet."""
        return len(self.lines) > self.ends[-1]

    def has_numbers(self) -> bool:
        """Tells whether the first column numbers the tokens of sentences."""
        first = self.cells[0]
        if self.width < 3 or len(self.lines) == len(self.documents):
            return False
        for start, end in zip(self.ends, self.ends[1:]):
            if not _NUMBER.fullmatch(first[start]):
                return False
            number = int(first[start])
            if first[start:end] != list(
                map(str, range(number, number + end - start))
            ):
                return False
        return True


def read(path: str, lines: Sequence[str]) -> Tokens:
    """Splits lines into cells, and the file into sentences and documents.

    Args:
      path: The file, for errors.
      lines: Its lines; columns are separated by tabs if the line has one,
        otherwise by blanks.

    Raises:
      DataError: If lines have different numbers of columns, or one.
    """
    columns, first_line, width = Tokens(), 0, _width(lines)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            columns.end_sentence()
            continue
        cells = _cells(line)
        if cells[0] == _DOCUMENT:
            columns.end_sentence()
            columns.document_count += 1
            continue
        # A tweet may start with #, but then it has a tag.
        may_be_comment = line.startswith("#") and not columns.in_sentence
        if may_be_comment and not (
            len(cells) == width and entity_scheme.parse(cells[-1])
        ):
            columns.comments += 1
            is_start = _DOCUMENT_COMMENT.match(line) is not None
            columns.document_count += is_start
            continue
        if not first_line:
            first_line, columns.width = number, len(cells)
        if len(cells) == 1:
            raise errors.DataError(
                f"{path}:{number} has one column; a token's line holds the "
                "word first and the tag last, with tabs or blanks between."
            )
        if len(cells) != columns.width:
            raise errors.DataError(
                f"{path}:{number} has {len(cells)} columns, but line "
                f"{first_line} has {columns.width}; every token needs the same."
            )
        # A corpus may have lost a word; the place is kept, as its tag is.
        columns.add(number, [cells[0] or " ", *cells[1:]])
    columns.end_sentence()
    return columns


def _cells(line: str) -> list[str]:
    """Splits a line that is not blank into at least one cell."""
    if "\t" not in line:
        # Not at other white space: "10 000" may have a no-break space.
        return [cell for cell in line.split(" ") if cell] or [line]
    cells = [cell.strip() for cell in line.split("\t")]
    while len(cells) > 1 and not cells[-1]:
        cells.pop()
    return cells


def _width(lines: Sequence[str]) -> int:
    """Counts the columns of the first line that may be a token's."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            cells = _cells(line)
            if cells[0] != _DOCUMENT:
                return len(cells)
    return 0
