"""What the model writes, and which base it stands on."""

from typing import Optional

from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Fold,
    Preformatted,
    Section,
    Table,
)
from tff_pipeline.reporting.run_report.record import Record


def section(record: Record) -> Optional[Section]:
    """Returns the samples and the base of the exported model's card.

    Args:
      record: The run.
    """
    blocks: list[Block] = []
    base = record.card.get("base") or record.card.get("frozen")
    if base:
        rows = [
            [name.replace("_", " "), f"{value:,}"]
            if isinstance(value, int) and not isinstance(value, bool)
            else [name.replace("_", " "), _listed(value)]
            for name, value in base.items()
        ]
        blocks.append(
            Table("The model it stands on", ["what", "value"], rows, words=True)
        )
    samples = record.card.get("samples")
    if samples:
        blocks.append(
            Table(
                "What the model writes, the likeliest token each time",
                ["prompt", "text"],
                [[each["prompt"], each["text"]] for each in samples],
                words=True,
            )
        )
    if record.adapter_card:
        text = Preformatted("Adapter's card", record.adapter_card)
        blocks.append(Fold("The adapter's card", [text]))
    return Section("Texts and base", blocks) if blocks else None


def _listed(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
