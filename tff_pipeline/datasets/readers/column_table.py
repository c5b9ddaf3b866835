"""Reads tagged sentences from a table, a token a row, as Kaggle has them.

Its first line has the names of columns, among them one of words and one of
tags. A sentence begins where the column of sentences has another value; empty
cells there mean the sentence above. Without such a column, a row without a word
and a tag ends a sentence.
"""

import csv
import re
from collections.abc import Collection, Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.datasets.readers.column_tokens import Tokens

_WORDS = ("word", "words", "token", "tokens")
_TAGS = (
    *("tag", "tags", "ner", "ner_tag", "ner_tags", "iob", "bio", "label"),
    *("labels", "entity"),
)
_SENTENCE = re.compile(r"sent(ence)?[ _]?(#|idx|id|no|num|number|index)?")
_SEPARATORS = ",;\t"


def is_table(lines: Sequence[str]) -> bool:
    """Returns whether the first line names a column of words and one of tags.

    >>> is_table(["Sentence #,Word,POS,Tag", "Sentence: 1,Ann,NNP,B-per"])
    True

    Args:
      lines: The file's lines.
    """
    names = _names(lines)
    return None not in (_find(names, _WORDS), _find(names, _TAGS))


def read(path: str, lines: Sequence[str]) -> Tokens:
    """Reads the rows of a table.

    Args:
      path: The file, for errors.
      lines: Its lines.

    Returns:
      Tokens of two columns, words and tags.

    Raises:
      DataError: If it has no columns of words and tags, or a row has fewer
        cells.
    """
    names = _names(lines)
    word, tag = _find(names, _WORDS), _find(names, _TAGS)
    if word is None or tag is None:
        raise errors.DataError(
            f"{path} is a table without a column named word and one named tag; "
            "its first line must name them, and every row have one token: "
            "sentence_idx,word,tag."
        )
    sentence = next(
        (at for at, name in enumerate(names) if _SENTENCE.fullmatch(name)), None
    )
    tokens = Tokens()
    tokens.width, tokens.form = 2, "a table, a token a row"
    rows = csv.reader(lines, delimiter=_separator(lines))
    last = None
    try:
        # The line of names, and blank ones above it.
        while not any(map(str.strip, next(rows))):
            pass
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                tokens.end_sentence()
                continue
            if len(cells) != len(names):
                raise errors.DataError(
                    f"{path}:{rows.line_num} has {len(cells)} cells where the "
                    f"first line has {len(names)} names; mend it (a word with "
                    "a separator in it needs quotes)."
                )
            if sentence is not None and cells[sentence] not in ("", last):
                tokens.end_sentence()
                last = cells[sentence]
            if not cells[word] and not cells[tag]:
                tokens.end_sentence()
                continue
            tokens.add(rows.line_num, [cells[word] or " ", cells[tag]])
    except csv.Error as error:
        raise errors.DataError(
            f"{path}:{rows.line_num} cannot be read ({error}); mend it."
        ) from None
    tokens.end_sentence()
    return tokens


def _separator(lines: Sequence[str]) -> str:
    return max(_SEPARATORS, key=_first(lines).count)


def _first(lines: Sequence[str]) -> str:
    """Returns the first line that is not blank."""
    return next((line for line in lines if line.strip()), "")


def _names(lines: Sequence[str]) -> list[str]:
    first = _first(lines)
    if len(first) > csv.field_size_limit():
        return []
    cells = next(csv.reader([first], delimiter=_separator(lines)), [])
    return [cell.strip().lower() for cell in cells]


def _find(names: Sequence[str], known: Collection[str]) -> Optional[int]:
    """Returns the place of the only name that is known."""
    places = [place for place, name in enumerate(names) if name in known]
    return places[0] if len(places) == 1 else None
