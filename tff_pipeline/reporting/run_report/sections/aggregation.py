"""What travelled, and what the aggregation and clients' work measured."""

from typing import Optional

from tff_pipeline.reporting.run_report import plots
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Figure,
    Figures,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record

_MOST_FIGURES = 4
# Columns that other sections draw, or that a table says enough of.
_ELSEWHERE = ("round", "seconds", "simulated_seconds", "epsilon", "clip")
# Columns of all runs, which come after those that this aggregation adds.
_USUAL = (
    *("clients", "rejected_clients", "rejected_update", "examples"),
    *("bytes_down", "bytes_up"),
)
_PREFIXES = ("train_", "eval_", "validation_", "seen_", "unseen_")


def section(record: Record) -> Optional[Section]:
    """Returns the chain of steps from clients to the server, and its figures.

    Columns that change are drawn, at most four; all are in the table.

    Args:
      record: The run.
    """
    blocks: list[Block] = [Text(line) for line in record.travels]
    names = [
        name
        for name in record.columns
        if name not in _ELSEWHERE and not name.startswith(_PREFIXES)
    ]
    names.sort(key=lambda name: name in _USUAL)
    figures: list[Figure] = []
    rows = []
    for name in names:
        rounds, values = record.series(name)
        mean = sum(values) / len(values)
        title = name.replace("_", " ")
        figures_of = (min(values), mean, max(values), values[-1])
        rows.append([title, *map(_amount, figures_of)])
        if min(values) < max(values) and len(figures) < _MOST_FIGURES:
            title = title.capitalize()
            figures.append(
                Figure(
                    f"{title} over rounds",
                    plots.curves(
                        [("", rounds, values)], "round", integer_x=True
                    ),
                    f"{title} over rounds: from {min(values):.4g} to "
                    f"{max(values):.4g}, {mean:.4g} on average.",
                )
            )
    if figures:
        blocks.append(Figures(figures))
    if rows:
        header = ["column", "least", "mean", "most", "last"]
        caption = "Figures of the rounds, from metrics.csv"
        blocks.append(Table(caption, header, rows))
    return Section("Aggregation", blocks) if blocks else None


def _amount(value: float) -> str:
    """Writes a number of any size.

    >>> _amount(220840.0), _amount(713.1333), _amount(0)
    ('220,840', '713.1', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
