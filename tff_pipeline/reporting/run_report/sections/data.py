"""What the model was trained on: clients, their examples, and the columns."""

from typing import Optional

import numpy as np

from tff_pipeline.datasets.federation.census import Census
from tff_pipeline.reporting.evaluation_text import shown
from tff_pipeline.reporting.run_report import plots
from tff_pipeline.reporting.run_report.blocks import (
    Block,
    Figure,
    Figures,
    Fold,
    Section,
    Table,
    Text,
)
from tff_pipeline.reporting.run_report.record import Record

_MOST_CLASSES = 12  # As many as `plots` has colours and dashes.


def section(record: Record) -> Optional[Section]:
    """Returns the partition and the columns, as far as files or data tell.

    Args:
      record: The run.
    """
    blocks: list[Block] = []
    card = record.card
    if card.get("notes"):
        blocks.append(Text(str(card["notes"])))
    counts = {
        name.replace("_", " "): f"{value:,}"
        for name, value in card.get("data", {}).items()
        if value
    }
    partition = record.config.data.partition
    counts |= {"partition": str(partition)} if partition else {}
    if counts:
        rows = [[name, value] for name, value in counts.items()]
        blocks.append(Table("Data", ["what", "how much"], rows))
    if record.model.census is not None:
        blocks += _partition(record.model.census, record.model.classes)
    if card.get("columns"):
        blocks.append(_columns(card["columns"]))
    return Section("Data", blocks) if blocks else None


def _partition(census: Census, classes: object) -> list[Block]:
    """Draws training clients side by side, from the largest to the smallest."""
    sizes = census.sizes
    order = np.argsort(-sizes, kind="stable")
    parts: list[tuple[str, list[float]]] = [
        ("", list(map(float, sizes[order])))
    ]
    title = "Examples of training clients"
    if census.labels is not None and len(census.labels) <= _MOST_CLASSES:
        assert census.counts is not None
        names = list(classes) if isinstance(classes, (list, tuple)) else []
        columns = census.counts[order].toarray().T
        parts = [
            (
                shown(str(names[label] if label < len(names) else label))[:10],
                list(map(float, column)),
            )
            for label, column in zip(census.labels, columns)
        ]
        title = "Classes of training clients"
    text = (
        f"{len(sizes):,} training clients have from {sizes.min():,} to "
        f"{sizes.max():,} examples, the median {np.median(sizes):,.0f}."
    )
    label = f"{len(sizes):,} clients, from the largest to the smallest"
    figure = Figure(title, plots.stacks(parts, label, "examples"), text)
    return [Text(text), Figures([figure])]


def _columns(columns: list[dict[str, object]]) -> Block:
    inputs = sum(bool(column["is_input"]) for column in columns)
    return Fold(
        f"{len(columns)} columns, of which {inputs} are inputs",
        [
            Table(
                "Columns of the table",
                ["column", "kind", "input", "missing", "why"],
                [
                    [
                        shown(str(column["name"])),
                        str(column["kind"]),
                        "yes" if column["is_input"] else "no",
                        "-"
                        if column["missing"] is None
                        else f"{column['missing']:.1%}",
                        str(column["why"]),
                    ]
                    for column in columns
                ],
                words=True,
            )
        ],
    )
