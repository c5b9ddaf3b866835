"""Reads and writes names of columns in flags, with commas between them."""

import csv
import io
from collections.abc import Sequence


def listed(value: str) -> list[str]:
    """Returns the names in a flag; one with a comma is in quotes, as in CSV.

    Args:
      value: The flag's value.

    >>> listed('age, "bp, mm"')
    ['age', 'bp, mm']
    """
    return [
        " ".join(name.split())
        for name in next(csv.reader([value], skipinitialspace=True))
    ]


def in_flag(names: Sequence[str]) -> str:
    """Returns the value of a flag that `listed` reads.

    Args:
      names: The columns' names.

    >>> in_flag(["age", "bp, mm"])
    'age,"bp, mm"'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()
