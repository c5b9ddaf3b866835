"""Reads a column file of tagged sentences, as in the CoNLL-2003 shared task.

A line is a token. Its first column is the word and its last the tag; columns
between them are ignored. A blank line ends a sentence; a line `-DOCSTART-`
starts a document and is no token.
"""

import dataclasses
import re
from collections.abc import Sequence

from tff_pipeline import errors

# A sentence with more tokens than this is taken for several whose blank lines
# are missing.
MAX_TOKENS = 500

_DOCUMENT = "-DOCSTART-"
_TAG = re.compile(r"O|[BI]-\S+")


@dataclasses.dataclass
class ColumnFile:
    """The sentences of a file, in its order.

    Attributes:
      path: The file.
      tokens: The tokens of each sentence.
      tags: The tags of each sentence, in BIO.
      documents: The number of each sentence's document, from 0.
      document_count: The number of lines that start a document.
      bio_starts: The number of entities that start with B- where IOB1 would
        have I-.
      iob1_starts: The number of entities that start with I-.
    """

    path: str
    tokens: list[list[str]] = dataclasses.field(default_factory=list)
    tags: list[list[str]] = dataclasses.field(default_factory=list)
    documents: list[int] = dataclasses.field(default_factory=list)
    document_count: int = 0
    bio_starts: int = 0
    iob1_starts: int = 0

    def add(self, tokens: list[str], tags: list[str]) -> None:
        """Adds a sentence, with tags converted to BIO, unless it is empty.

        Example:
          >>> file = ColumnFile("eng.train")
          >>> file.add(["Oslo", "is", "here"], ["I-LOC", "O", "O"])
          >>> file.tags
          [['B-LOC', 'O', 'O']]

        Args:
          tokens: The sentence's tokens.
          tags: Their tags, in BIO or IOB1.
        """
        if not tokens:
            return
        bio, before = [], "O"
        for tag in tags:
            follows = before[2:] == tag[2:]
            if tag.startswith("I-") and not follows:
                self.iob1_starts += 1
                bio.append("B-" + tag[2:])
            else:
                self.bio_starts += tag.startswith("B-") and not follows
                bio.append(tag)
            before = tag
        self.tokens.append(tokens)
        self.tags.append(bio)
        # Sentences before the first -DOCSTART- are a document as well.
        self.documents.append(max(self.document_count - 1, 0))


def read(path: str) -> ColumnFile:
    """Reads a column file.

    Args:
      path: The file, in UTF-8; columns are separated by tabs if the line has
        one, otherwise by blanks.

    Returns:
      At least one sentence, with tags converted to BIO. Files may also be in
      IOB1, where B- only separates an entity from one of the same type before
      it.

    Raises:
      DataError: If the file cannot be read or has another format; the message
        names the line.
    """
    content = ColumnFile(path)
    first_line, columns = 0, 0
    tokens: list[str] = []
    tags: list[str] = []
    # Not `splitlines`: tweets have other characters that it takes for ends.
    for number, line in enumerate([*_text(path).split("\n"), ""], start=1):
        line = line.rstrip("\r")
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or cells[0] == _DOCUMENT:
            content.add(tokens, tags)
            tokens, tags = [], []
            content.document_count += bool(line.strip())
            continue
        if not columns:
            first_line, columns = number, len(cells)
        if len(cells) != columns:
            raise errors.DataError(
                f"{path}:{number} has {len(cells)} columns, but line "
                f"{first_line} has {columns}; every token needs the same."
            )
        _check_token(f"{path}:{number}", cells)
        # A corpus may have lost a word; the place is kept, as its tag is.
        tokens.append(cells[0].strip() or " ")
        tags.append(cells[-1].strip())
        if len(tokens) > MAX_TOKENS:
            raise errors.DataError(
                f"{path}:{number} is in a sentence of more than {MAX_TOKENS} "
                "tokens; blank lines must part sentences."
            )
    if not content.tokens:
        raise errors.DataError(f"{path} holds no sentences.")
    return content


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); fetch it again."
        ) from None
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path} is not UTF-8: its byte {error.start} is "
            f"0x{error.object[error.start]:02x}; convert it, say with iconv "
            "-f latin1 -t utf-8."
        ) from None
    if "\0" in text:
        # NumPy and TensorFlow take a zero byte for the end of a word.
        where = text.count("\n", 0, text.index("\0")) + 1
        raise errors.DataError(
            f"{path}:{where} has a zero byte, which no text has; take it out."
        )
    return text


def _check_token(place: str, cells: Sequence[str]) -> None:
    """Raises `DataError` unless cells start with a word and end with a tag."""
    if len(cells) == 1:
        raise errors.DataError(
            f"{place} has one column; a token's line holds the word first and "
            "the tag last, with tabs or blanks between."
        )
    tag = cells[-1].strip()
    if not _TAG.fullmatch(tag):
        raise errors.DataError(
            f"{place} has the tag {tag!r}; tags of BIO and IOB1 are O, B-TYPE "
            "and I-TYPE: convert others (IOBES, BILOU) first."
        )
