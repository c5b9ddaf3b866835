"""Confusion, ROC and calibration of the final model on the test set."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline.reporting.evaluation_text import number, shown
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

_MOST_CLASSES = 20
_MOST_CURVES = 10
_MOST_CONFUSED = 15


def section(record: Record) -> Optional[Section]:
    """Returns what is known of the classes, as far as there are such.

    Args:
      record: The run.
    """
    # What evaluate.py wrote may have another threshold, which then counts.
    source = record.evaluation or record.model.test
    classes: Optional[Mapping[str, Any]] = source.get("classes")
    blocks: list[Block] = []
    if classes:
        if "threshold" in classes:
            blocks.append(
                Text(
                    f"{shown(classes['positive'])} is predicted above a "
                    f"probability of {classes['threshold']:g}."
                )
            )
        if classes["not_finite"]:
            blocks.append(
                Text(
                    f"{classes['not_finite']:,} examples have outputs that are "
                    "not finite, and are left out here.",
                    "warning",
                )
            )
    figures = [*_rocs(record), *_reliability(record)]
    if figures:
        blocks.append(Figures(figures))
    if classes:
        blocks += _confusion(classes)
        blocks.append(_by_class(classes))
    return Section("Classes", blocks) if blocks else None


def _rocs(record: Record) -> list[Figure]:
    """Draws a curve a class; of many classes, those with the least area."""
    curves = sorted(record.model.rocs, key=lambda curve: curve.area)
    if not curves:
        return []
    drawn = sorted(curves[:_MOST_CURVES], key=lambda curve: curve.label)
    names = record.model.classes
    lines: list[plots.Line] = [
        (
            shown(names[curve.label])[:10],
            list(curve.false_positives),
            list(curve.true_positives),
        )
        for curve in drawn
    ]
    title = "ROC, each class against all others"
    if len(names) == 2:
        title = f"ROC of {shown(names[1])}"
    elif len(drawn) < len(curves):
        title = f"ROC of the {len(drawn)} classes with the least area"
    areas = ", ".join(
        f"{shown(names[curve.label])} {curve.area:.3f}" for curve in drawn
    )
    return [
        Figure(
            title,
            plots.curves(
                lines,
                "share of the others taken for the class",
                y_label="share of the class found",
            ),
            f"Share of the class that is found, over the share of the others "
            f"taken for it. Areas under the curves: {areas}.",
        )
    ]


def _reliability(record: Record) -> list[Figure]:
    found = record.model.reliability
    if found is None or not len(found.share):
        return []
    gap = float((found.share * abs(found.right - found.confidence)).sum())
    return [
        Figure(
            "Calibration",
            plots.reliability(found.confidence, found.right, found.share),
            "How often the likeliest class is right, over how sure the model "
            f"is: the two differ by {gap:.3f} on average (calibration error).",
        )
    ]


def _confusion(classes: Mapping[str, Any]) -> list[Block]:
    """Tables the confusion matrix; of many classes, the largest mistakes."""
    names = list(map(shown, classes["names"]))
    counts: Sequence[Sequence[int]] = classes["confusion"]
    if len(names) <= _MOST_CLASSES:
        return [
            Table(
                "Confusion: rows are true classes, columns predicted ones",
                ["true class", *names],
                [
                    [name, *(f"{count:,}" for count in row)]
                    for name, row in zip(names, counts)
                ],
                [[count / max(1, sum(row)) for count in row] for row in counts],
            )
        ]
    mistakes = [
        (count, names[true], names[predicted])
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    mistakes.sort(key=lambda each: -each[0])
    return [
        Table(
            f"The most frequent mistakes of {len(names):,} classes",
            ["true class", "predicted", "examples"],
            [
                [true, predicted, f"{count:,}"]
                for count, true, predicted in mistakes[:_MOST_CONFUSED]
            ],
        )
    ]


def _by_class(classes: Mapping[str, Any]) -> Table:
    order = list(range(len(classes["names"])))
    caption = "Class by class"
    if len(order) > _MOST_CLASSES:
        recall = classes["recall"]
        order.sort(key=lambda k: 2.0 if recall[k] is None else recall[k])
        order = order[:_MOST_CLASSES]
        caption = f"The {_MOST_CLASSES} classes that are found worst"
    scores = ("precision", "recall", "f1")
    return Table(
        caption,
        ["class", "examples", "predicted", *scores],
        [
            [
                shown(classes["names"][k]),
                f"{classes['count'][k]:,}",
                f"{classes['predicted'][k]:,}",
                *(number(classes[name][k]) for name in scores),
            ]
            for k in order
        ],
    )
