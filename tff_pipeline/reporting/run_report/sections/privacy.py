"""What was promised to clients, and what of it is spent."""

from typing import Optional

from tff_pipeline.reporting.evaluation_text import number
from tff_pipeline.reporting.run_report import plots
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Figure,
    Figures,
    Fold,
    Preformatted,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record

# The first word of `paper.verdict` -> how it is shown; else as a warning.
_KINDS = {"STRONG": "good", "MODERATE": "plain"}
_STATED = (
    "epsilon",
    "delta",
    "epsilon_of_all_planned_rounds",
    "epsilon_without_amplification",
    "unit",
    "adjacency",
    "mechanism",
    "noise_multiplier",
    "clip",
    "sampling",
    "accountant",
)


def section(record: Record) -> Optional[Section]:
    """Returns the privacy statement, and epsilon and clip over rounds.

    Args:
      record: The run.
    """
    blocks: list[Block] = []
    stated = record.privacy
    if stated:
        words = str(stated.get("verdict", ""))
        kind = _KINDS.get(words.partition(":")[0], "warning")
        blocks.append(Text(words, kind))
        blocks.append(
            Table(
                "Guarantee",
                ["what", "value"],
                [
                    [name.replace("_", " "), _shown(stated[name])]
                    for name in _STATED
                    if stated.get(name) is not None
                ],
                words=True,
            )
        )
    figures = []
    for column, title in (
        ("epsilon", "Epsilon over rounds"),
        ("clip", "Clip over rounds"),
    ):
        rounds, values = record.series(column)
        if values:
            figures.append(
                Figure(
                    title,
                    plots.curves(
                        [("", rounds, values)], "round", integer_x=True
                    ),
                    f"{title}: {values[0]:.3g} to {values[-1]:.3g}.",
                )
            )
    if figures:
        blocks.append(Figures(figures))
    if record.privacy_text:
        text = Preformatted("Privacy statement", record.privacy_text)
        blocks.append(Fold("The certificate, privacy.txt", [text]))
    if record.audit:
        text = Preformatted("Audit", record.audit)
        blocks.append(Fold("The audit, audit.txt", [text]))
    return Section("Privacy", blocks) if blocks else None


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-3 else number(value)
    return str(value)
