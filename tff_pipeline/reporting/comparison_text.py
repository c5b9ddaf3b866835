"""A comparison as tables: rows of text for the screen, and CSV files."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from typing import Optional

from tff_pipeline.reporting.comparison import (
    Comparison,
    Setting,
    Spread,
    shown,
)
from tff_pipeline.reporting.read_run import Run
from tff_pipeline.runs.metric_names import TEST, VALIDATION

# What names begin with where a run's best or a spread stands beside them.
_BEST = "best_"


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number by which runs are described.

    Attributes:
      name: Its name, a column of the tables.
      of: Tells a run's number; `None` where it has none.
    """

    name: str
    of: Callable[[Run], Optional[float]]


def measures(comparison: Comparison) -> list[Measure]:
    """Lists what is told of each run: results first, costs after.

    Args:
      comparison: The comparison; a measure that no run has is left out.
    """
    column = comparison.column
    evaluated = dict.fromkeys(
        name
        for _, run in comparison.runs
        for name in run.columns()
        if name.startswith((TEST, VALIDATION)) and name != column
    )
    every = [
        _final(column),
        Measure(
            f"{_BEST}{column}", lambda run: _number(run.best(column).value)
        ),
        *map(_final, evaluated),
        Measure("rounds", lambda run: run.rounds),
        Measure("client_bytes", lambda run: run.client_bytes),
        Measure("seconds", lambda run: round(run.total("seconds"), 3)),
        Measure("epsilon", lambda run: run.epsilon),
    ]
    return [
        each
        for each in every
        if any(each.of(run) is not None for _, run in comparison.runs)
    ]


def _final(column: str) -> Measure:
    return Measure(column, lambda run: run.final(column))


def _number(value: float) -> Optional[float]:
    return None if math.isnan(value) else value


def setting_table(comparison: Comparison) -> list[list[str]]:
    """Returns a table of the settings.

    Args:
      comparison: The comparison.

    Returns:
      The header and a row a setting: its name, the flags that differ, how many
      of its runs ended, and mean and deviation of each measure.
    """
    told = measures(comparison)
    rows = [
        ["", *(f"--{flag}" for flag in comparison.flags), "seeds", "ended"]
        + [each.name for each in told]
    ]
    for setting in comparison.settings:
        flags = setting.runs[0].settings()
        rows.append(
            [
                setting.name,
                *(shown(flags.get(flag)) for flag in comparison.flags),
                _seeds(setting),
                _endings(setting),
                *(in_words(setting.over(each.of)) for each in told),
            ]
        )
    return rows


def _seeds(setting: Setting) -> str:
    return ",".join(str(run.seed) for run in setting.runs)


def _endings(setting: Setting) -> str:
    """Says how the runs of a setting ended, each way once."""
    ways = [
        run.ended or f"{run.rounds}/{run.config.run.total_rounds} rounds"
        for run in setting.runs
    ]
    return "; ".join(
        f"{way} ({ways.count(way)})" if setting.runs[1:] else way
        for way in dict.fromkeys(ways)
    )


def in_words(spread: Optional[Spread]) -> str:
    """Returns mean and deviation as they stand in a table.

    >>> in_words(Spread(0.91234, 0.0123, 3)), in_words(None)
    ('0.9123 ± 0.012', '')

    Args:
      spread: The spread; `None` where nothing was measured.
    """
    if spread is None:
        return ""
    mean = spread.mean
    large = math.isfinite(mean) and abs(mean) >= 10_000
    text = f"{mean:,.0f}" if large else f"{mean:.4g}"
    if spread.deviation:
        text += f" ± {spread.deviation:.2g}"
    return text


def on_screen(comparison: Comparison) -> str:
    """Returns the comparison as text of a terminal.

    Args:
      comparison: The comparison.
    """
    table = setting_table(comparison)
    # On a screen no wider than it must be: one line a column, one column a
    # setting, if there are fewer settings than columns.
    if len(table) < len(table[0]):
        table = [list(row) for row in zip(*table)]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths))
        for row in table
    ]
    text = [line.rstrip() for line in lines]
    text += ["", *comparison.verdict]
    if comparison.notes:
        text += ["", *(f"note: {note}" for note in comparison.notes)]
    return "\n".join(text)


def settings_csv(comparison: Comparison) -> str:
    """Returns the settings as CSV, each number to its last digit.

    Args:
      comparison: The comparison.
    """
    told = measures(comparison)
    header = ["setting", *comparison.flags, "runs", "ended_runs"]
    for each in told:
        header += [each.name, f"{each.name}_deviation"]
    rows = [header]
    for setting in comparison.settings:
        flags = setting.runs[0].settings()
        row = [setting.name]
        row += [shown(flags.get(flag)) for flag in comparison.flags]
        row += [str(len(setting.runs)), str(len(setting.finished))]
        for each in told:
            spread = setting.over(each.of)
            row += [
                _digits(None if spread is None else spread.mean),
                _digits(None if spread is None else spread.deviation),
            ]
        rows.append(row)
    return as_csv(rows)


def runs_csv(comparison: Comparison) -> str:
    """Returns the runs as CSV, each number to its last digit.

    Args:
      comparison: The comparison.
    """
    told = measures(comparison)
    rows = [
        ["run", "setting", *comparison.flags, "seed", "ended"]
        + [each.name for each in told]
    ]
    for setting, run in comparison.runs:
        flags = run.settings()
        rows.append(
            [
                run.path,
                setting.name,
                *(shown(flags.get(flag)) for flag in comparison.flags),
                str(run.seed),
                run.ended or "not finished",
                *(_digits(each.of(run)) for each in told),
            ]
        )
    return as_csv(rows)


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    r"""Returns rows as the text of a CSV file.

    >>> as_csv([["a", "b"], ["1,2", ""]])
    'a,b\n"1,2",\n'

    Args:
      rows: The rows, the header first.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _digits(value: Optional[float]) -> str:
    return "" if value is None else repr(value)
