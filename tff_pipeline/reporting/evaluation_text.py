"""The report of an evaluation, as tables and sentences."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

# Larger tables of classes and clients are cut, and that is said.
_MOST_CLASSES = 20
_MOST_CONFUSED = 10
_MOST_CLIENTS = 20
_LONGEST_NAME = 24
# What stands above a column; these columns come first.
_HEADINGS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "majority_accuracy": "majority",
    "balanced_accuracy": "balanced",
}
# Of clients these are in the file alone: a table has no room for all.
_LEFT_OUT = ("f1", "pr_auc")
_AREA = "auc"


def standing(
    evaluation: Mapping[str, float], constant: Mapping[str, float]
) -> str:
    """Returns a line that says how a model stands beside a constant answer.

    >>> evaluation = {"accuracy": 0.86, "auc": 0.91}
    >>> standing(evaluation, {"accuracy": 0.54})
    'Accuracy 0.860; the most frequent class alone 0.540; AUC 0.910.'

    Args:
      evaluation: The metrics of the central test set, by name.
      constant: The result of `scores.constant_answer`.

    Returns:
      The line; empty if there is nothing to compare.
    """
    for name, words in (
        ("accuracy", "the most frequent class alone"),
        ("root_mean_squared_error", "the mean alone"),
    ):
        if name in evaluation and name in constant:
            area = ""
            if _AREA in evaluation:
                area = f"; AUC {evaluation[_AREA]:.3f}"
            label = name.replace("_", " ").capitalize()
            return (
                f"{label} {number(evaluation[name], 3)}; {words} "
                f"{number(constant[name], 3)}{area}."
            )
    return ""


def in_words(report: Mapping[str, Any]) -> str:
    """Returns the text of an evaluation's report.

    Args:
      report: The report of `commands.saved_runs.evaluate`.
    """
    lines = [f"{report['task']}, round {report['round']}"]
    if "notes" in report:
        lines.append(report["notes"])
    if "model" in report:
        lines.append(f"Evaluated is {report['model']}.")
    if "chosen" in report:
        lines.append(report["chosen"])
    lines += ["", f"Central test set, {report['rows']:,} examples"]
    lines += _central(report)
    if "classes" in report:
        lines += _classes(report["classes"])
    if "validation" in report:
        width = 2 + max(map(len, report["validation"]))
        lines += ["", "Validation set"]
        lines += [
            f"  {name:<{width}}{number(value):>10}"
            for name, value in report["validation"].items()
        ]
    for group in report["clients"]:
        lines += _clients(group)
    return "\n".join(lines)


def _central(report: Mapping[str, Any]) -> list[str]:
    """Tables the metrics of all examples beside those of a constant answer."""
    central, classes = report["central"], report.get("classes")
    constant = report.get("constant_answer", {})
    labels = {name: _label(name, classes) for name in central}
    width = 2 + max(map(len, labels.values()))
    heading = "majority" if classes else "mean"
    lines = []
    if constant:
        lines.append(f"  {'':<{width}}{'model':>10}{heading:>10}")
    for name, value in central.items():
        beside = ""
        if name in constant:
            beside = f"{number(constant[name]):>10}"
        lines.append(f"  {labels[name]:<{width}}{number(value):>10}{beside}")
    if classes:
        count = max(classes["count"])
        most = classes["names"][classes["count"].index(count)]
        lines.append(
            f"  majority: always the most frequent class, {shown(most)}, and "
            "the shares of the classes as probabilities"
        )
        if classes["not_finite"]:
            lines.append(
                f"  {classes['not_finite']:,} examples have outputs that are "
                "not finite; scores leave them out, and loss and accuracy do "
                "not"
            )
    elif constant:
        lines.append("  mean: always the mean of the labels")
    return lines


def _label(name: str, classes: Optional[Mapping[str, Any]]) -> str:
    """Names a metric, and of two classes the one that it is of."""
    if classes is None:
        return name
    if "positive" not in classes:
        return f"{name} (macro)" if name in ("f1", "auc", "pr_auc") else name
    negative, positive = map(shown, classes["names"])
    which = {"f1": positive, "sensitivity": positive, "specificity": negative}
    return f"{name} ({which[name]})" if name in which else name


def _classes(classes: Mapping[str, Any]) -> list[str]:
    """Tables the scores of classes, and how they are confused."""
    names = list(map(shown, classes["names"]))
    at = ""
    if "threshold" in classes:
        at = (
            f"; {names[1]} is predicted above a probability of "
            f"{classes['threshold']:g}"
        )
    lines = ["", f"By class{at}"]
    # Of many classes, those that are found worst.
    order = list(range(len(names)))
    if len(names) > _MOST_CLASSES:
        order.sort(key=lambda each: _or(classes["f1"][each], 2.0))
        order = order[:_MOST_CLASSES]
        lines[-1] += f", the worst {_MOST_CLASSES} of {len(names)} by f1"
    width = 2 + max(map(len, ["class", *(names[each] for each in order)]))
    lines.append(
        f"  {'class':<{width}}{'examples':>10}{'predicted':>11}"
        f"{'precision':>11}{'recall':>8}{'f1':>8}"
    )
    for each in order:
        lines.append(
            f"  {names[each]:<{width}}{classes['count'][each]:>10,}"
            f"{classes['predicted'][each]:>11,}"
            f"{number(classes['precision'][each], 3):>11}"
            f"{number(classes['recall'][each], 3):>8}"
            f"{number(classes['f1'][each], 3):>8}"
        )
    if len(names) <= _MOST_CONFUSED:
        return [*lines, *_confusion(names, classes["confusion"])]
    return [*lines, *_most_confused(names, classes["confusion"])]


def _confusion(
    names: Sequence[str], confusion: Sequence[Sequence[int]]
) -> list[str]:
    width = 2 + max(map(len, ["true", *names]))
    cells = [max(len(name), 7) + 2 for name in names]
    head = "".join(f"{name:>{cell}}" for name, cell in zip(names, cells))
    lines = ["", "Confusion: true classes down, predicted ones across"]
    lines.append(f"  {'true':<{width}}{head}")
    for name, row in zip(names, confusion):
        counts = "".join(f"{n:>{cell},}" for n, cell in zip(row, cells))
        lines.append(f"  {name:<{width}}{counts}")
    return lines


def _most_confused(
    names: Sequence[str], confusion: Sequence[Sequence[int]]
) -> list[str]:
    pairs = [
        (count, names[true], names[predicted])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    pairs.sort(key=lambda pair: -pair[0])
    listed = ", ".join(
        f"{true} as {predicted} {count:,}"
        for count, true, predicted in pairs[:_MOST_CONFUSED]
    )
    return ["", f"Most often confused: {listed or 'none'}"]


def _clients(group: Mapping[str, Any]) -> list[str]:
    """Tables how metrics are spread over clients, and who is worst."""
    metrics = group["metrics"]
    lines = ["", f"Over {group['count']} {group['which']}"]
    statistics = list(next(iter(metrics.values())))
    width = 2 + max(map(len, statistics))
    cells, head = _columns(metrics)
    lines.append(f"  {'':<{width}}{head}")
    for statistic in statistics:
        numbers = "".join(
            f"{number(metrics[name][statistic]):>{cell}}"
            for name, cell in cells.items()
        )
        lines.append(f"  {statistic:<{width}}{numbers}")
    if 0 < len(group["each"]) <= _MOST_CLIENTS:
        return [*lines, *_each(group["each"], metrics)]
    for name, clients in group["worst"].items():
        worst = ", ".join(
            f"{shown(each['client'])} {number(each['value'])}"
            for each in clients
        )
        lines.append(f"  worst by {name}: {worst}")
    return lines


def _columns(metrics: Collection[str]) -> tuple[dict[str, int], str]:
    """Returns the width of each metric's column, in order, and the heading."""
    first = [name for name in _HEADINGS if name in metrics]
    cells, head = {}, ""
    for name in [*first, *(name for name in metrics if name not in first)]:
        if name in _LEFT_OUT:
            continue
        heading = _HEADINGS.get(name, name)
        cells[name] = max(len(heading), 8) + 2
        head += f"{heading:>{cells[name]}}"
    return cells, head


def _each(
    clients: Sequence[Mapping[str, Any]], metrics: Collection[str]
) -> list[str]:
    """Tables a few clients, one a line."""
    cells, head = _columns(metrics)
    names = [shown(each["client"]) for each in clients]
    width = 2 + max(map(len, ["client", *names]))
    lines = ["", f"  {'client':<{width}}{'examples':>10}{head}"]
    for name, each in zip(names, clients):
        numbers = "".join(
            f"{number(each['metrics'].get(metric)):>{cell}}"
            for metric, cell in cells.items()
        )
        lines.append(f"  {name:<{width}}{each['examples']:>10,}{numbers}")
    return lines


def number(value: Optional[float], digits: int = 4) -> str:
    """Writes a number in at most 10 signs; "-" where there is none.

    >>> number(0.25), number(12345), number(None)
    ('0.2500', '12,345', '-')

    Args:
      value: The number.
      digits: The decimals of one that is not large.
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if 1e4 <= abs(value) < float("inf"):
        return f"{value:.4g}"
    return f"{value:.{digits}f}"


def shown(name: str) -> str:
    r"""Writes a name on one line of a table, and cuts a long one.

    >>> shown("two\nlines")
    'two\\nlines'

    Args:
      name: The name.
    """
    # Line breaks and what a terminal would take for a command.
    name = json.dumps(name, ensure_ascii=False)[1:-1]
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 3]}..."


def _or(value: Optional[float], otherwise: float) -> float:
    return otherwise if value is None else value
