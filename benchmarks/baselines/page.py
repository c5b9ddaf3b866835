"""docs/baselines.md, made from the figures that were measured."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Optional

from benchmarks.baselines.group import Group, Recall
from benchmarks.baselines.results import Results

_COLUMNS = 80


def document(results: Results, groups: Mapping[str, Group]) -> str:
    """Writes the whole Markdown file.

    Args:
      results: The figures.
      groups: All groups by name, in the order of the page.
    """
    parts = [_HEAD]
    for name, group in groups.items():
        parts.append(f"## {group.title}")
        if name not in results:
            parts.append("Not measured yet, or not all of it.")
            continue
        parts += group.section(recall_of(results, name))
        parts.append(
            f"`python -m benchmarks.baselines --only={name}`; "
            f"{results.made(name)}."
        )
    parts += ["## Not measured", _NOT_MEASURED]
    return "\n\n".join(map(_wrapped, parts)) + "\n"


def recall_of(results: Results, name: str) -> Recall:
    """Returns what finds figures for a group.

    Args:
      results: The figures.
      name: The group's name.
    """

    def recall(
        run: str, figure: str, group: Optional[str] = None
    ) -> Sequence[float]:
        return results.figures(group or name, run, figure)

    return recall


def _wrapped(part: str) -> str:
    """Breaks the lines of a paragraph anew, but not of a table or heading."""
    if part.startswith(("|", "#")):
        return part
    return textwrap.fill(
        part, _COLUMNS, break_long_words=False, break_on_hyphens=False
    )


_HEAD = """\
# Published figures, measured here

Made by `python -m benchmarks.baselines --data=FOLDER` from
`benchmarks/results/baselines.json`; a figure that is there already is not
trained again without `--again`. "+-" is the standard deviation over seeds. Each
flagfile says where its numbers come from and where it departs from the paper.
"**missed**" means that a figure is not as the paper, or the issue that asked
for it, has it; nothing was tuned towards a published figure."""
_NOT_MEASURED = """\
PFLlib's and IFCA's full settings are hours. There is no flagfile of these."""
