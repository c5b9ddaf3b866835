"""Curves of the metrics over rounds, over bytes and over simulated time."""

import itertools
from collections.abc import Mapping
from typing import Optional

from tff_pipeline.config.run import SEEN, UNSEEN
from tff_pipeline.reporting.run_report import plots, verdict
from tff_pipeline.reporting.run_report.blocks import Figure, Figures, Section
from tff_pipeline.reporting.run_report.record import Record
from tff_pipeline.runs.metric_names import TEST, VALIDATION

# Prefix of columns -> words.
_PARTS = {
    TEST: "test set",
    VALIDATION: "validation set",
    "train_": "training clients",
}
_MOST_FIGURES = 6
_HOUR = 3600
_CLOCK = "simulated_seconds"


def section(record: Record) -> Optional[Section]:
    """Returns a picture for each metric, the main one also over other axes.

    Args:
      record: The run.
    """
    names = list(
        dict.fromkeys(
            column[len(prefix) :]
            for prefix in _PARTS
            for column in record.columns
            if column.startswith(prefix)
        )
    )
    main = verdict.main_metric(names)
    if main is None:
        return None
    first = [name for name in (main, "loss") if name in names]
    ordered = list(dict.fromkeys([*first, *names]))[:_MOST_FIGURES]
    figures = [_over_rounds(record, name) for name in ordered]
    figures += _over_clients(record, main)
    for words, places in (
        ("megabytes sent", _megabytes(record)),
        _simulated(record),
    ):
        if figure := _over(record, main, words, places):
            figures.append(figure)
    return Section("Learning", [Figures(figures)])


def _over_rounds(record: Record, name: str) -> Figure:
    lines = []
    for prefix, words in _PARTS.items():
        rounds, values = record.series(f"{prefix}{name}")
        if values:
            lines.append((words, rounds, values))
    constant = record.constant.get(name)
    mark = None if constant is None else (constant, "constant answer")
    parts = " and ".join(
        f"{words} {values[0]:.3g} to {values[-1]:.3g}"
        for words, _, values in lines
    )
    title = _title(name)
    return Figure(
        f"{title} over rounds",
        plots.curves(lines, "round", integer_x=True, mark=mark),
        f"{title} over rounds, from the first to the last: {parts}.",
    )


def _over_clients(record: Record, name: str) -> list[Figure]:
    """Draws how a metric is spread over clients, of each group that has it."""
    figures = []
    for group, words in (
        (SEEN, "training clients"),
        (UNSEEN, "unseen clients"),
    ):
        start = f"{group}_{name}"
        rounds, mean = record.series(f"{start}_mean")
        _, low = record.series(f"{start}_p10")
        _, high = record.series(f"{start}_p90")
        if not rounds:
            continue
        figures.append(
            Figure(
                f"{_title(name)} over {words}",
                plots.curves(
                    [("mean; band from 10% to 90%", rounds, mean)],
                    "round",
                    integer_x=True,
                    band=(low, high),
                ),
                f"{_title(name)} over {words}: in the last evaluation the mean "
                f"is {mean[-1]:.3g}, and 80% of them lie from {low[-1]:.3g} to "
                f"{high[-1]:.3g}.",
            )
        )
    return figures


def _megabytes(record: Record) -> Mapping[int, float]:
    """Returns round -> the megabytes that were moved until its end."""
    whole = "round_bytes_down" in record.columns
    sums = itertools.accumulate(
        row.get("round_bytes_down", 0) + row.get("round_bytes_up", 0)
        if whole
        else row.get("clients", 0)
        * (row.get("bytes_down", 0) + row.get("bytes_up", 0))
        for row in record.rows
    )
    found = dict(zip((int(row["round"]) for row in record.rows), sums))
    # Of private runs nobody knows how many took part.
    if not max(found.values()):
        return {}
    return {number: total / 1e6 for number, total in found.items()}


def _simulated(record: Record) -> tuple[str, Mapping[int, float]]:
    """Returns round -> the simulated time at its end, and its unit in words."""
    rounds, seconds = record.series(_CLOCK)
    words, unit = "simulated seconds", 1
    if seconds and seconds[-1] >= _HOUR:
        words, unit = "simulated hours", _HOUR
    return words, {int(n): value / unit for n, value in zip(rounds, seconds)}


def _over(
    record: Record, name: str, words: str, places: Mapping[int, float]
) -> Optional[Figure]:
    """Draws evaluations over what was spent until then."""
    lines: list[plots.Line] = []
    for prefix, part in _PARTS.items():
        if prefix == "train_":
            continue
        rounds, values = record.series(f"{prefix}{name}")
        points = [
            (places[int(n)], value)
            for n, value in zip(rounds, values)
            if int(n) in places
        ]
        if points:
            spent, reached = zip(*points)
            lines.append((part, spent, reached))
    if not lines:
        return None
    return Figure(
        f"{_title(name)} over {words}",
        plots.curves(lines, words),
        f"{_title(name)} over {words}, of which all rounds took "
        f"{lines[0][1][-1]:.4g}.",
    )


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
