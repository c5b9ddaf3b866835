"""How the final model does on each client, with its number of examples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from tff_pipeline.evaluation.spread import summarize
from tff_pipeline.reporting.evaluation_text import number, shown
from tff_pipeline.reporting.run_report import plots, verdict
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
from tff_pipeline.runs.metric_names import lower_is_better

_MOST_BARS = 30
_STATISTICS = ("mean", "weighted_mean", "p10", "median", "p90", "gap")
# Name of a client -> (number of examples, its metrics).
_Clients = Sequence[tuple[str, int, Mapping[str, float]]]


def section(record: Record) -> Optional[Section]:
    """Returns bars and tables of each group of clients.

    Clients are named where evaluate.py has named them, in its file of the last
    round; else they are numbered in the data's order.

    Args:
      record: The run.
    """
    groups = _evaluated(record) or _looked_at(record)
    blocks: list[Block] = []
    for which, clients in groups:
        blocks += _group(which, clients)
    if not blocks:
        return None
    if not _evaluated(record):
        blocks.append(
            Text(
                "Clients are numbered in the data's order. Once tff-pipeline "
                "evaluate has written their names into the run's folder, "
                "tff-pipeline report names them here.",
                "note",
            )
        )
    return Section("Client by client", blocks)


def _evaluated(record: Record) -> list[tuple[str, _Clients]]:
    """Takes the clients from what evaluate.py wrote, where it lists them."""
    groups: list[Mapping[str, Any]] = record.evaluation.get("clients", [])
    return [
        (
            group["which"],
            [
                (shown(each["client"]), each["examples"], each["metrics"])
                for each in group["each"]
            ],
        )
        for group in groups
        if group.get("each")
    ]


def _looked_at(record: Record) -> list[tuple[str, _Clients]]:
    return [
        (
            group.which,
            [
                (
                    f"client {place + 1}",
                    int(size),
                    {
                        name: float(values[place])
                        for name, values in group.metrics.items()
                        if not math.isnan(values[place])
                    },
                )
                for place, size in enumerate(group.sizes)
            ],
        )
        for group in record.model.clients
    ]


def _group(which: str, clients: _Clients) -> list[Block]:
    """Draws the main metric, the worst client first, and tables all metrics."""
    names = list(dict.fromkeys(name for *_, each in clients for name in each))
    name = verdict.main_metric(names)
    if name is None:
        return []
    sign = -1 if lower_is_better(name) else 1
    # Those whose metric is not finite come first.
    ordered = sorted(
        clients,
        key=lambda each: (
            sign * each[2][name] if _is_finite(each[2].get(name)) else -math.inf
        ),
    )
    worst = [each for each in ordered if _is_finite(each[2].get(name))]
    worst = worst[:_MOST_BARS]
    title = f"{name.replace('_', ' ').capitalize()} of {which}"
    if len(worst) < len(clients):
        title += f": the worst {len(worst)} of {len(clients):,}"
    labelled = f"{title} (in brackets the number of examples)"
    blocks: list[Block] = []
    if worst:
        labels = [f"{each[0]} ({each[1]:,})" for each in worst]
        figure = plots.bars(
            labels,
            [each[2][name] for each in worst],
            name.replace("_", " "),
            left=min(0.55, 0.03 + 0.0165 * max(map(len, labels))),
        )
        text = (
            f"{title}: {worst[0][0]} has {worst[0][2][name]:.3g} on "
            f"{worst[0][1]:,} examples, {worst[-1][0]} has "
            f"{worst[-1][2][name]:.3g} on {worst[-1][1]:,}."
        )
        blocks.append(Figures([Figure(labelled, figure, text)]))
    blocks.append(_spread(which, clients, names))
    rows = [
        [each[0], f"{each[1]:,}", *(number(each[2].get(n)) for n in names)]
        for each in ordered[:_MOST_BARS]
    ]
    table = Table(title, ["client", "examples", *names], rows)
    blocks.append(Fold("These clients as a table", [table]))
    return blocks


def _spread(which: str, clients: _Clients, names: Sequence[str]) -> Table:
    columns = {}
    for name in names:
        pairs = [
            (each[name], size) for _, size, each in clients if name in each
        ]
        values, sizes = map(np.array, zip(*pairs))
        columns[name] = summarize(values, sizes, lower_is_better(name))
    return Table(
        f"Over {len(clients):,} {which}",
        ["statistic", *columns],
        [
            [
                statistic.replace("_", " "),
                *(number(each[statistic]) for each in columns.values()),
            ]
            for statistic in _STATISTICS
        ],
    )


def _is_finite(value: Optional[float]) -> bool:
    return value is not None and math.isfinite(value)
