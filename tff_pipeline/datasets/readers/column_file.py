"""Reads a column file of tagged sentences, as in the CoNLL-2003 shared task.

A line is a token. Its first column is the word and its last the tag; columns
between them are ignored. A blank line ends a sentence; a line `-DOCSTART-`
starts a document and is no token. Of what other corpora have, these are known:
lines that start with # before a sentence; a first column that numbers the
tokens; two columns of tags after such numbers, of which the first counts
(Benikova et al. 2014, "GermEval 2014"); and a language before each token, as
"en:" (Pan et al. 2017, "Cross-lingual Name Tagging", WikiANN).
"""

import array
import dataclasses
import re
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.datasets.readers import column_text, entity_scheme

# A longer sentence is cut, outside entities: every sentence takes as much
# memory as the longest.
MAX_TOKENS = 128

_DOCUMENT = "-DOCSTART-"
_DOCUMENT_COMMENT = re.compile(r"#\s*(begin document|newdoc)\b")
_ENDS = frozenset([".", "!", "?", "。"])
_NUMBER = re.compile(r"\d{1,9}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]+)?:")
# Types of the chunks in CoNLL-2003's third column, whose tags name no entity.
_CHUNKS = frozenset(["NP", "VP", "PP"])


@dataclasses.dataclass
class ColumnFile:
    """The sentences of a file, in its order.

    Attributes:
      path: The file.
      tokens: The tokens of each sentence.
      tags: The tags of each sentence, in BIO.
      documents: The number of each sentence's document, from 0.
      document_count: The number of lines that start a document.
      scheme: The scheme in which the file has its tags.
      notes: What was read otherwise than as words and tags, in a few words
        each.
    """

    path: str
    tokens: list[list[str]] = dataclasses.field(default_factory=list)
    tags: list[list[str]] = dataclasses.field(default_factory=list)
    documents: list[int] = dataclasses.field(default_factory=list)
    document_count: int = 0
    scheme: entity_scheme.Scheme = dataclasses.field(
        default_factory=entity_scheme.Scheme
    )
    notes: list[str] = dataclasses.field(default_factory=list)


class _Columns:
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
    """

    def __init__(self) -> None:
        self.cells: tuple[list[str], ...] = ([], [], [], [])
        self.lines = array.array("q")
        self.ends = [0]
        self.documents: list[int] = []
        self.document_count = 0
        self.width = 0
        self.comments = 0
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


def read(path: str) -> ColumnFile:
    """Reads a column file.

    Args:
      path: The file, in UTF-8, or another encoding of
        `column_text.read_lines`; columns are separated by tabs if the line has
        one, otherwise by blanks.

    Returns:
      At least one sentence, with tags converted to BIO from any of
      `entity_scheme`.

    Raises:
      DataError: If the file cannot be read or has another format; the message
        names the line.
    """
    lines, encoding = column_text.read_lines(path)
    columns = _columns(path, lines)
    content = ColumnFile(
        path,
        documents=columns.documents,
        document_count=columns.document_count,
    )
    if not columns.lines:
        raise errors.DataError(f"{path} holds no sentences.")
    if encoding != "utf-8":
        content.notes.append(f"read as {encoding.upper()}")
    if columns.comments:
        content.notes.append(
            f"comments are no tokens ({columns.comments} lines)"
        )
    words, tags = columns.cells[0], columns.cells[-1]
    if columns.has_numbers():
        words = columns.cells[1]
        content.notes.append("the first column numbers tokens")
        if columns.width == 4 and _are_entities(columns.cells[-2]):
            tags = columns.cells[-2]
            content.notes.append("of two columns of tags, the first counts")
    language = _language(words)
    if language:
        words = [word[len(language) :] or " " for word in words]
        content.notes.append(f"{language} is taken off before each token")
    _add_sentences(content, words, _parsed(path, columns, tags), columns.ends)
    return content


def _columns(path: str, lines: Sequence[str]) -> _Columns:
    """Splits lines into cells, and the file into sentences and documents."""
    columns, first_line, width = _Columns(), 0, _width(lines)
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


def _are_entities(cells: Sequence[str]) -> bool:
    """Tells whether all cells of a column are tags, and of no chunks."""
    tags = [entity_scheme.parse(cell) for cell in set(cells)]
    return all(tag is not None and tag.kind not in _CHUNKS for tag in tags)


def _language(words: Sequence[str]) -> str:
    """Finds the language that stands before every word, as "en:"."""
    match = _LANGUAGE.match(words[0])
    if match is None or not all(word.startswith(match[0]) for word in words):
        return ""
    return match[0]


def _parsed(
    path: str, columns: _Columns, cells: Sequence[str]
) -> list[entity_scheme.Tag]:
    """Parses the tags of all tokens."""
    known: dict[str, Optional[entity_scheme.Tag]] = {
        cell: entity_scheme.parse(cell) for cell in set(cells)
    }
    tags = []
    for position, cell in enumerate(cells):
        tag = known[cell]
        if tag is None:
            raise errors.DataError(_no_tag(path, columns, position))
        tags.append(tag)
    return tags


def _no_tag(path: str, columns: _Columns, position: int) -> str:
    """Words for a cell that is no tag; what stands in it is not told."""
    place = f"{path}:{columns.lines[position]}"
    if columns.width >= 11 and re.search(r"[*()]", columns.cells[-2][position]):
        return (
            f"{place} has entities in brackets, as CoNLL-2012 and OntoNotes "
            "have them; convert the file to two columns, a word and its tag "
            "such as B-PERSON."
        )
    return (
        f"{place} has something other than a tag in its last column; tags are "
        "O, or B or I (or E, S, L, U, M in IOBES and BILOU) with the type, "
        "such as B-PER."
    )


def _add_sentences(
    content: ColumnFile,
    words: Sequence[str],
    tags: Sequence[entity_scheme.Tag],
    ends: Sequence[int],
) -> None:
    """Adds sentences in BIO; those that are too long in pieces."""
    documents, cut = [], 0
    for start, end, document in zip(ends, ends[1:], content.documents):
        tokens = list(words[start:end])
        bio = content.scheme.to_bio(tags[start:end])
        cut += len(tokens) > MAX_TOKENS
        while tokens:
            length = _piece(tokens, bio)
            content.tokens.append(tokens[:length])
            content.tags.append(bio[:length])
            documents.append(document)
            tokens, bio = tokens[length:], bio[length:]
            if bio and bio[0].startswith("I"):
                # No place outside entities was there to cut.
                bio[0] = "B" + bio[0][1:]
    content.documents = documents
    if cut:
        content.notes.append(
            f"sentences of more than {MAX_TOKENS} tokens are cut, outside "
            f"entities ({cut})"
        )


def _piece(tokens: Sequence[str], bio: Sequence[str]) -> int:
    """Returns how many tokens of a sentence to keep together.

    The cut is after the last end of a sentence that leaves at least a quarter
    of `MAX_TOKENS`, else at the last place outside an entity.
    """
    if len(tokens) <= MAX_TOKENS:
        return len(tokens)
    places = [
        place
        for place in range(MAX_TOKENS, MAX_TOKENS // 4, -1)
        if not bio[place].startswith("I")
    ]
    after_ends = [place for place in places if tokens[place - 1] in _ENDS]
    return next(iter(after_ends or places), MAX_TOKENS)
