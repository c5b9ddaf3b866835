"""docs/baselines.md, and sections of other pages, made from the figures."""

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
        if group.page is None or name not in results:
            parts += section(results, name, group)
        else:
            parts.append(f"They stand in [{group.page}]({group.page}).")
    parts += ["## Not measured", _NOT_MEASURED]
    return "\n\n".join(map(_wrapped, parts)) + "\n"


def filled(text: str, results: Results, name: str, group: Group) -> str:
    """Writes a group's section into a page, between the marks of its name.

    Args:
      text: The page, which has both marks.
      results: The figures.
      name: The group's name.
      group: The group.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    parts = map(_wrapped, section(results, name, group))
    return "\n\n".join([before + begin, *parts, end + after])


def section(results: Results, name: str, group: Group) -> Sequence[str]:
    """Writes the paragraphs and tables of a group, without its heading.

    Args:
      results: The figures.
      name: The group's name.
      group: The group.
    """
    shown = group.cell_by_cell and results.began(name)
    if name not in results and not shown:
        return ["Not measured yet, or not all of it."]
    command = f"`python -m benchmarks.baselines --only={name}`"
    goes_on = ""
    if name not in results:
        goes_on = " The same command goes on with the cells that are missing."
    return [
        *group.section(recall_of(results, name)),
        f"{command}; {results.made(name)}.{goes_on}",
    ]


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
