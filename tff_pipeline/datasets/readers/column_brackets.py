"""Reads the files of CoNLL-2012 and OntoNotes, with entities in brackets.

A line has twelve columns or more, as many as its sentence has predicates: the
document and its part, the token's number and the token, and in the eleventh
column the entities, as (PERSON* for the first token of one, *) for the last and
(GPE) for one token. Pradhan et al. 2012, "CoNLL-2012 Shared Task".
"""

import re
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.datasets.readers.column_tokens import Tokens

_DOCUMENT, _PART, _NUMBER, _WORD, _ENTITY, _LEAST = 0, 1, 2, 3, 10, 12
_CELL = re.compile(r"(?:\(([^()*\s]+))?(\*)?(\))?")


def has_brackets(lines: Sequence[str]) -> bool:
    """Returns whether the first token's line is one of such a file.

    >>> has_brackets(["bc/cctv/00 0 0 Rome NNP * - - - - (GPE) -"])
    True

    Args:
      lines: The file's lines.
    """
    for line in lines:
        cells = line.split()
        if cells and not line.startswith("#"):
            return (
                len(cells) >= _LEAST
                and cells[_PART].isdigit()
                and cells[_NUMBER].isdigit()
                and _parts(cells[_ENTITY]) is not None
            )
    return False


def read(path: str, lines: Sequence[str]) -> Tokens:
    """Reads the tokens of a file for which `has_brackets` holds.

    Args:
      path: The file, for errors.
      lines: Its lines; those that start with # and are before a sentence are
        no tokens.

    Returns:
      Tokens of two columns, words and tags in BIO.

    Raises:
      DataError: If a line has fewer columns, or something else in the column of
        entities.
    """
    tokens = Tokens()
    tokens.width, tokens.form = 2, "entities in brackets, as in OntoNotes"
    document, open_kind = None, ""
    for number, line in enumerate(lines, start=1):
        cells = line.split()
        if not cells or (line.startswith("#") and not tokens.in_sentence):
            tokens.end_sentence()
            open_kind = ""
            continue
        entity = _parts(cells[_ENTITY]) if len(cells) >= _LEAST else None
        if entity is None:
            raise errors.DataError(
                f"{path}:{number} has no entity in brackets, or *, in its "
                f"column {_ENTITY + 1}, as the file's first token has; mend "
                "it."
            )
        if document != cells[: _PART + 1]:
            tokens.end_sentence()
            document, open_kind = cells[: _PART + 1], ""
            tokens.document_count += 1
        kind, goes_on = entity
        tag = f"B-{kind}" if kind else f"I-{open_kind}" if open_kind else "O"
        tokens.add(number, [cells[_WORD], tag])
        open_kind = (kind or open_kind) if goes_on else ""
    tokens.end_sentence()
    return tokens


def _parts(cell: str) -> Optional[tuple[str, bool]]:
    """Returns the type that begins here, if any, and whether it goes on."""
    match = _CELL.fullmatch(cell)
    if match is None or not cell:
        return None
    kind, star, end = match.groups()
    if not star and not (kind and end):
        return None
    return kind or "", end is None
