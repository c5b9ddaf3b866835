"""A group of published figures, and the words of a table of them."""

import abc
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Optional, Protocol

from benchmarks.baselines.training import Run

# Trains a run with a seed, or remembers it; returns its figures by name.
Measure = Callable[[Run, int], Mapping[str, float]]


class Recall(Protocol):
    """Finds figures that were measured."""

    def __call__(
        self, run: str, figure: str, group: Optional[str] = None
    ) -> Sequence[float]:
        """Returns the values of a figure, seed by seed; empty if there is none.

        Args:
          run: The name of the run.
          figure: The name of the figure.
          group: The group that it is of; by default the one that asks.
        """


class Group(abc.ABC):
    """Runs whose figures stand in one table.

    Attributes:
      title: The heading of its section.
      page: The page of `docs/` that has its section between the marks of the
        group's name; `None` for docs/baselines.md, which links to it otherwise.
      cell_by_cell: Whether its section is shown before all runs are measured.
    """

    title: str
    page: Optional[str] = None
    cell_by_cell: bool = False

    @abc.abstractmethod
    def train(self, measure: Measure, seeds: int) -> None:
        """Trains all runs.

        Args:
          measure: Trains one run with one seed.
          seeds: The number of seeds, from 0 on.
        """

    @abc.abstractmethod
    def section(self, recall: Recall) -> Sequence[str]:
        """Puts the figures in words: paragraphs and tables of Markdown.

        Args:
          recall: Finds figures; a run that was not trained has none.
        """


def mean(values: Sequence[float]) -> float:
    """Returns the mean, which is infinite if one of the values is.

    Args:
      values: The values; not a number if there are none.
    """
    return statistics.fmean(values) if values else math.nan


def deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation of a sample; 0 of one value.

    Args:
      values: The values.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return 0.0
    return statistics.stdev(values)


def spread(values: Sequence[float], digits: int) -> str:
    """Writes the mean and deviation over seeds.

    >>> spread([0.5, 0.7], 2)
    '0.60 +- 0.14'

    Args:
      values: A figure, seed by seed.
      digits: The number of decimals.
    """
    if not values:
        return "not measured"
    if not all(map(math.isfinite, values)):
        missed = sum(not math.isfinite(value) for value in values)
        return f"not reached by {missed} of {len(values)}"
    if len(values) == 1:
        return f"{values[0]:.{digits}f} (one seed)"
    return f"{mean(values):.{digits}f} +- {deviation(values):.{digits}f}"


def verdict(holds: bool) -> str:
    """Says whether a figure is as it must be.

    Args:
      holds: Whether it is.
    """
    return "holds" if holds else "**missed**"


def row_of_published(
    name: str,
    published: float,
    deviation_published: float,
    values: Sequence[float],
    digits: int,
) -> list[str]:
    """Makes a table's row of a figure that is published with a deviation.

    >>> row_of_published("a.flags", 0.5, 0.1, [0.6, 0.8], 2)
    ['`a.flags`', '0.50 +- 0.10', '0.70 +- 0.14', 'holds']

    Args:
      name: The name of the flagfile.
      published: The figure.
      deviation_published: Its standard deviation.
      values: The figure here, seed by seed.
      digits: The number of decimals.

    Returns:
      The flagfile, what is published, what is measured here, and whether the
      mean here is within two deviations of what is published.
    """
    holds = abs(mean(values) - published) <= 2 * deviation_published
    return [
        f"`{name}`",
        f"{published:.{digits}f} +- {deviation_published:.{digits}f}",
        spread(values, digits),
        verdict(holds),
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draws a table of Markdown.

    Args:
      header: The names of the columns.
      rows: The cells, row by row.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows)]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(str.ljust, cells, widths))} |"

    rule = [("-" * width) for width in widths]
    return "\n".join(map(line, [header, rule, *rows]))
