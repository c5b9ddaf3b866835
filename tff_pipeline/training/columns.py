"""The columns of metrics.csv: which there are, and what fills them."""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation import over_clients, spread
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.runs import metrics_file
from tff_pipeline.tasks.task import Task

# What is exact and of the clients that train: withheld from what is private.
_EXACT = ("clients", "dropped_clients", "examples")


def names(
    task: Task,
    groups: Iterable[str],
    more: Iterable[str] = (),
    exact: bool = True,
) -> list[str]:
    """All columns, in order.

    Args:
      task: For its metrics.
      groups: Those evaluated client by client.
      more: Those of the aggregator.
      exact: Whether there are columns that no noise protects.
    """
    columns = [
        "round",
        *(f"train_{name}" for name in task.metric_names),
        *(f"eval_{name}" for name in task.evaluated_names),
        *(
            f"{group}_{name}_{statistic}"
            for group in groups
            for name in task.evaluated_names
            for statistic in spread.SPREAD
        ),
        *("clients", "dropped_clients", "rejected_update", "examples"),
        *("bytes_down", "bytes_up", "seconds"),
        *more,
    ]
    if exact:
        return columns
    return [
        name
        for name in columns
        if name not in _EXACT and not name.startswith("train_")
    ]


def evaluated(
    evaluator: Evaluator,
    task: Task,
    groups: Mapping[str, FederatedData],
    weights: tff.learning.models.ModelWeights,
) -> dict[str, float]:
    """Columns of metrics.csv from evaluating `weights`."""
    on_test_set = evaluator.evaluate(weights, task.test)
    columns = {f"eval_{name}": value for name, value in on_test_set.items()}
    for group, clients in groups.items():
        values = over_clients.evaluate_clients(evaluator, weights, clients)
        columns |= spread.spread_columns(group, values)
    return columns


def measured(output: Any, names: list[str]) -> dict[str, metrics_file.Value]:
    """Columns of metrics.csv from what the process measured."""
    train = output["client_work"]["train"]
    columns: dict[str, metrics_file.Value] = {
        "dropped_clients": int(output["client_work"]["dropped_clients"]),
        # The server takes no mean that is not finite.
        "rejected_update": int(output["finalizer"]["update_non_finite"]),
    }
    # Where the clip adapts.
    if "clip" in output["aggregator"]:
        columns["clip"] = float(output["aggregator"]["clip"])
    # Where all clients were dropped there is no loss, though TFF says 0.
    if train["num_examples"]:
        for name in names:
            columns[f"train_{name}"] = float(train[name])
    return columns


def last_evaluation(metrics_csv: str) -> dict[str, float]:
    """The central metrics of the last row that has some, by name."""
    for row in reversed(metrics_file.read(metrics_csv)):
        values = {
            name.partition("_")[2]: value
            for name, value in row.items()
            if name.startswith("eval_")
        }
        if values:
            return values
    return {}
