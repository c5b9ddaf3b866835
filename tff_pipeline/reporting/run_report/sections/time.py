"""Where the time went, and what went wrong."""

from typing import Optional

import numpy as np

from tff_pipeline.reporting.run_report import plots
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Figure,
    Figures,
    Preformatted,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record

_MOST_FAILURES = 20


def section(record: Record) -> Optional[Section]:
    """Returns seconds a round, the profile, failed rounds and restarts.

    Args:
      record: The run.
    """
    blocks: list[Block] = []
    rounds, seconds = record.series("seconds")
    if seconds:
        text = (
            f"{_clock(sum(seconds))} in {len(seconds):,} rounds; the median "
            f"round took {np.median(seconds):.3g} s, the first "
            f"{seconds[0]:.3g} s."
        )
        blocks.append(Text(text))
        # The first round builds graphs, and would flatten all others.
        line = ("", rounds[1:], seconds[1:])
        if len(seconds) > 2:
            svg = plots.curves([line], "round", integer_x=True)
            blocks.append(
                Figures(
                    [Figure("Seconds a round, but for the first", svg, text)]
                )
            )
    if record.profile:
        blocks.append(Preformatted("Profile", record.profile))
    if record.failures:
        blocks.append(
            Table(
                f"Rounds that failed: {len(record.failures):,}",
                ["round", "attempt", "why", "decision"],
                [
                    [
                        str(each.get(name, ""))
                        for name in ("round", "attempt", "why", "decision")
                    ]
                    for each in record.failures[:_MOST_FAILURES]
                ],
                words=True,
            )
        )
    if record.restarts:
        count = len(record.restarts)
        times = "once" if count == 1 else f"{count} times"
        blocks.append(Text(f"The run was started again {times}."))
    return Section("Time", blocks) if blocks else None


def _clock(seconds: float) -> str:
    """Returns a duration in words.

    >>> _clock(7.25), _clock(83), _clock(7320)
    ('7.2 s', '1 min 23 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
