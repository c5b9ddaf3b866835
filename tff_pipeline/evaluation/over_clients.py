"""Evaluates a model client by client."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.evaluation.spread import summarize
from tff_pipeline.runs.metric_names import lower_is_better
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

_WORST_CLIENTS = 5


def client_groups(task: Task) -> dict[str, tuple[str, FederatedData]]:
    """Lists the groups of clients that can be evaluated one by one.

    Args:
      task: The task whose clients they are.

    Returns:
      "seen" and, where the task has such clients, "unseen" -> (a description in
      words, the clients). Clients that train are evaluated on their own test
      examples, or, where they have none, on their training examples.
    """
    if task.test_clients is not None:
        groups = {
            "seen": ("training clients, on test examples", task.test_clients)
        }
    else:
        groups = {
            "seen": ("training clients, on their training examples", task.train)
        }
    if task.unseen is not None:
        groups["unseen"] = ("unseen clients, on test examples", task.unseen)
    return groups


def evaluate_clients(
    evaluator: Evaluator,
    weights_of: Callable[[str], tff.learning.models.ModelWeights],
    clients: FederatedData,
) -> dict[str, Array]:
    """Computes loss and metrics of every client on its own examples.

    Args:
      evaluator: The evaluator of the task's model.
      weights_of: A client's id -> the weights that are evaluated on it, arrays
        in the order of the model's variables; mostly one model for all.
      clients: At least one client.

    Returns:
      Metric name -> float64 array of shape [clients], in the order of
      `clients.client_ids`.
    """
    rows, assigned = [], None
    for client_id in clients.client_ids:
        weights = weights_of(client_id)
        if weights is not assigned:
            evaluator.assign(weights)
            assigned = weights
        rows.append(evaluator.measure(clients.load(client_id)))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def report(
    task: Task, weights: tff.learning.models.ModelWeights
) -> dict[str, Any]:
    """Evaluates a model on the test and validation sets and on every client.

    Args:
      task: The task that the model is of.
      weights: The model's weights, arrays in the order of its variables.

    Returns:
      A JSON object. "central": metric -> value on the central test set.
      "validation": the same on the validation set, where there is one.
      "clients": a list, one entry for each of `client_groups`, with "which" (in
      words), "count", "metrics" (metric -> `spread.summarize`) and "worst"
      (metric -> a list of the worst clients, each with "client", "value" and
      "examples").
    """
    evaluator = Evaluator(task)
    clients = []
    for which, members in client_groups(task).values():
        sizes = np.array([members.size(name) for name in members.client_ids])
        columns = evaluate_clients(evaluator, lambda _: weights, members)
        clients.append(
            {
                "which": which,
                "count": len(members),
                "metrics": {
                    name: summarize(values, sizes, lower_is_better(name))
                    for name, values in columns.items()
                },
                "worst": {
                    name: _worst(members, values, lower_is_better(name))
                    for name, values in columns.items()
                },
            }
        )
    stated: dict[str, Any] = {"central": evaluator.evaluate(weights, task.test)}
    if task.validation is not None:
        stated["validation"] = evaluator.measure(task.validation)
    return {**stated, "clients": clients}


def _worst(
    clients: FederatedData, values: Array, worst_is_highest: bool
) -> list[dict[str, Any]]:
    order = np.argsort(-values if worst_is_highest else values, kind="stable")
    return [
        {
            "client": clients.client_ids[position],
            "value": float(values[position]),
            "examples": clients.size(clients.client_ids[position]),
        }
        for position in order[:_WORST_CLIENTS]
    ]
