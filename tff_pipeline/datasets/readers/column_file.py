"""Reads a column file of tagged sentences, as in the CoNLL-2003 shared task.

A line is a token. Its first column is the word and its last the tag; columns
between them are ignored. A blank line ends a sentence; a line `-DOCSTART-`
starts a document and is no token. Of what other corpora have, these are known:
lines that start with # before a sentence; a first column that numbers the
tokens; two columns of tags after such numbers, of which the first counts
(Benikova et al. 2014, "GermEval 2014"); and a language before each token, as
"en:" (Pan et al. 2017, "Cross-lingual Name Tagging", WikiANN). Tables with a
line of names and OntoNotes' brackets are read as well.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.datasets.readers import (
    column_brackets,
    column_table,
    column_text,
    column_tokens,
    entity_scheme,
)
from tff_pipeline.datasets.readers.column_tokens import Tokens

# A longer sentence is cut, outside entities: every sentence takes as much
# memory as the longest.
MAX_TOKENS = 128

_ENDS = frozenset([".", "!", "?", "。"])
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


def read(path: str) -> ColumnFile:
    """Reads a column file.

    Args:
      path: The file, in UTF-8, or another encoding of
        `column_text.read_lines`; a column file, or a form of it of
        `column_table` or `column_brackets`.

    Returns:
      At least one sentence, with tags converted to BIO from any of
      `entity_scheme`.

    Raises:
      DataError: If the file cannot be read or has another format; the message
        names the line.
    """
    lines, encoding = column_text.read_lines(path)
    content, columns = ColumnFile(path), _tokens(path, lines)
    content.documents = columns.documents
    content.document_count = columns.document_count
    if not columns.lines:
        raise errors.DataError(f"{path} holds no sentences.")
    if encoding != "utf-8":
        content.notes.append(f"read as {encoding.upper()}")
    if columns.comments:
        content.notes.append(
            f"comments are no tokens ({columns.comments} lines)"
        )
    if columns.form:
        content.notes.append(columns.form)
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


def _tokens(path: str, lines: Sequence[str]) -> Tokens:
    """Reads tokens in the form that the file has."""
    if path.lower().endswith(".csv") or column_table.is_table(lines):
        return column_table.read(path, lines)
    if column_brackets.has_brackets(lines):
        return column_brackets.read(path, lines)
    return column_tokens.read(path, lines)


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
    path: str, columns: Tokens, cells: Sequence[str]
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


def _no_tag(path: str, columns: Tokens, position: int) -> str:
    """Words for a cell that is no tag; what stands in it is not told."""
    place = f"{path}:{columns.lines[position]}"
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
