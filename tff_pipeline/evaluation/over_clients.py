"""Evaluates a model client by client."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.algorithms.algorithm import Algorithm
from tff_pipeline.config.run import SEEN, UNSEEN
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.evaluation import scores
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.evaluation.spread import is_defined, summarize
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metric_names import lower_is_better
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]
# A client's id -> the weights that are evaluated on it.
WeightsOf = Callable[[str], tff.learning.models.ModelWeights]

_WORST_CLIENTS = 5
_MOST_LISTED = 1000


def client_groups(task: Task) -> dict[str, tuple[str, FederatedData]]:
    """Lists the groups of clients that can be evaluated one by one.

    Args:
      task: The task whose clients they are.

    Returns:
      `SEEN` and, where the task has such clients, `UNSEEN` -> (a description in
      words, the clients). Clients that train are evaluated on their own test
      examples, or, where they have none, on their training examples.
    """
    if task.test_clients is not None:
        groups = {
            SEEN: ("training clients, on test examples", task.test_clients)
        }
    else:
        groups = {
            SEEN: ("training clients, on their training examples", task.train)
        }
    if task.unseen is not None:
        groups[UNSEEN] = ("unseen clients, on test examples", task.unseen)
    return groups


def own_weights(
    algorithm: Algorithm,
    state: Any,
    kept: Optional[KeptStates],
    training_data: Callable[[str], Any],
) -> WeightsOf:
    """Returns a function from a client's id to the weights that are its own.

    Args:
      algorithm: The algorithm, whose clients have such.
      state: The server's state.
      kept: The kept states of all clients; `None` if they keep nothing.
      training_data: Reads the data that a client trains on, from its id.
    """

    def weights(client_id: str) -> tff.learning.models.ModelWeights:
        return algorithm.client_weights(
            state,
            None if kept is None else kept.rows([client_id])[0],
            lambda: training_data(client_id),
        )

    return weights


def evaluate_clients(
    evaluator: Evaluator,
    weights_of: WeightsOf,
    clients: FederatedData,
    measure: Optional[Callable[[Examples], Mapping[str, float]]] = None,
) -> dict[str, Array]:
    """Computes loss and metrics of every client on its own examples.

    Args:
      evaluator: The evaluator of the task's model.
      weights_of: A client's id -> the weights that are evaluated on it, arrays
        in the order of the model's variables; mostly one model for all.
      clients: At least one client.
      measure: Measures the weights that the evaluator was assigned last on a
        client's examples; by default `evaluator.measure`.

    Returns:
      Metric name -> float64 array of shape [clients], in the order of
      `clients.client_ids`.
    """
    measure = measure or evaluator.measure
    rows, assigned = [], None
    for client_id in clients.client_ids:
        weights = weights_of(client_id)
        if weights is not assigned:
            evaluator.assign(weights)
            assigned = weights
        rows.append(measure(clients.load(client_id)))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def report(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    threshold: Optional[float] = None,
    own: Optional[WeightsOf] = None,
) -> dict[str, Any]:
    """Evaluates a model on the test and validation sets and on every client.

    Args:
      task: The task that the model is of.
      weights: The model's weights, arrays in the order of its variables.
      threshold: The probability above which the second of two classes is
        predicted; by default one half.
      own: The weights of clients that have models of their own, on whose test
        examples these are evaluated too.

    Returns:
      A JSON object. What `scores.score_test_set` returns of the central test
      set; "validation": metric -> value on the validation set, where there is
      one; and "clients": a list, one entry for each of `client_groups`, two for
      clients that are evaluated with models of their own too, with
      "which" (in words), "count", "metrics" (metric -> `spread.summarize`, and
      "clients", for how many it is defined), "worst" (metric -> a list of the
      worst clients, each with "client", "value" and "examples") and, of at most
      1,000 clients, "each": a list of "client", "examples" and "metrics".

    Raises:
      ConfigError: If a threshold is given, but there are not two classes.
    """
    two = task.predicts == "class" and len(task.class_names) == 2
    if threshold is not None and not two:
        raise errors.ConfigError(
            f"--threshold={threshold} is for two classes, which --task="
            f"{task.name} does not predict; leave it out."
        )
    threshold = threshold or scores.DEFAULT_THRESHOLD
    evaluator = Evaluator(task)
    clients = []
    for which, members, weights_of in _tables(task, weights, own):
        sizes = np.array([members.size(name) for name in members.client_ids])
        columns = evaluate_clients(
            evaluator,
            weights_of,
            members,
            functools.partial(scores.score_client, evaluator, task, threshold),
        )
        columns = {
            name: values
            for name, values in columns.items()
            if is_defined(name, values).any()
        }
        clients.append(
            {
                "which": which,
                "count": len(members),
                "metrics": {
                    name: {
                        **summarize(values, sizes, lower_is_better(name)),
                        "clients": int(is_defined(name, values).sum()),
                    }
                    for name, values in columns.items()
                },
                "worst": {
                    name: _worst(members, values, lower_is_better(name))
                    for name, values in columns.items()
                    if name != scores.MAJORITY
                },
                "each": _each(members, columns),
            }
        )
    evaluator.assign(weights)
    stated = scores.score_test_set(evaluator, task, threshold)
    if task.validation is not None:
        measured = evaluator.measure(task.validation)
        stated["validation"] = {
            name: value
            for name, value in measured.items()
            if is_defined(name, value)
        }
    return {**stated, "clients": clients}


def _tables(
    task: Task,
    weights: tff.learning.models.ModelWeights,
    own: Optional[WeightsOf],
) -> Iterator[tuple[str, FederatedData, WeightsOf]]:
    """Yields which clients are evaluated, in words and as data, with what."""
    for group, (which, members) in client_groups(task).items():
        beside = ""
        if group == SEEN and own is not None and task.test_clients is not None:
            yield f"{which}, each with its own model", members, own
            beside = ", all with the same model"
        yield f"{which}{beside}", members, lambda _: weights


def _each(
    clients: FederatedData, columns: Mapping[str, Array]
) -> list[dict[str, Any]]:
    if len(clients) > _MOST_LISTED:
        return []
    return [
        {
            "client": client_id,
            "examples": clients.size(client_id),
            "metrics": {
                name: float(values[place])
                for name, values in columns.items()
                if is_defined(name, values[place])
            },
        }
        for place, client_id in enumerate(clients.client_ids)
    ]


def _worst(
    clients: FederatedData, values: Array, worst_is_highest: bool
) -> list[dict[str, Any]]:
    if worst_is_highest:
        # Nothing is worse than a loss that is no number.
        badness = np.where(np.isnan(values), np.inf, values)
        order = np.argsort(-badness, kind="stable")
    else:
        # A share that is not defined comes last, and is cut off.
        order = np.argsort(values, kind="stable")[
            : int(np.sum(~np.isnan(values)))
        ]
    return [
        {
            "client": clients.client_ids[position],
            "value": float(values[position]),
            "examples": clients.size(clients.client_ids[position]),
        }
        for position in order[:_WORST_CLIENTS]
    ]
