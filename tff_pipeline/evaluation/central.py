"""What a model is worth on given examples, central or a client's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

_BATCH_SIZE = 1000
# What a batch of outputs may hold: 100 MB, of which a loss makes a few more.
_BATCH_NUMBERS = 25_000_000
_WORST_CLIENTS = 5


class Evaluator:
    """Computes a task's loss and metrics, in this process, without TFF.

    All that touches Keras is traced once, here: a Keras model that TFF builds
    later, in a graph of its own, invalidates the calls of earlier ones.

    Attributes:
      batch_size: How many examples are evaluated at once.
    """

    @compat.without_rewriting()
    def __init__(self, task: Task):
        model = task.build_model()
        self._set_metrics = task.set_metrics
        loss_fn = task.loss_fn()
        loss = tf.keras.metrics.Mean(name="loss")
        metrics = [loss, *task.metrics_fn()]
        # Kept, for the traced functions refer to their variables only weakly.
        self._keep = (model, metrics)
        self._weights = tff.learning.models.ModelWeights.from_model(model)

        @tf.function(input_signature=task.batch_spec)
        def update(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            output = model(x, training=False)
            loss.update_state(loss_fn(y, output), sample_weight=tf.shape(y)[0])
            for metric in metrics[1:]:
                metric.update_state(y, output)
            return output

        @tf.function(input_signature=[])
        def reset() -> None:
            for metric in metrics:
                metric.reset_state()

        @tf.function(input_signature=[])
        def results() -> dict[str, tf.Tensor]:
            return {metric.name: metric.result() for metric in metrics}

        self._update = update.get_concrete_function()
        # Of sequences over 10,000 words, 1,000 would be most of a gigabyte.
        numbers = self._update.structured_outputs.shape[1:].num_elements()
        self.batch_size = _BATCH_SIZE
        if numbers is not None:
            most = max(1, _BATCH_NUMBERS // max(1, numbers))
            self.batch_size = min(_BATCH_SIZE, most)
        self._reset = reset.get_concrete_function()
        self._results = results.get_concrete_function()

    def evaluate(
        self, weights: tff.learning.models.ModelWeights, examples: Examples
    ) -> dict[str, float]:
        """Loss and metrics by name, over `examples`.

        Args:
          weights: The model's.
          examples: At least one.
        """
        self._assign(weights)
        return self._measure(examples)

    def _assign(self, weights: tff.learning.models.ModelWeights) -> None:
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value),
            (list(self._weights.trainable), list(self._weights.non_trainable)),
            (list(weights.trainable), list(weights.non_trainable)),
        )

    def _measure(self, examples: Examples) -> dict[str, float]:
        """As `evaluate`, with the weights that were assigned last."""
        self._reset()
        outputs = []
        for start in range(0, len(examples), self.batch_size):
            batch = slice(start, start + self.batch_size)
            output = self._update(
                tf.constant(examples.x[batch]), tf.constant(examples.y[batch])
            )
            if self._set_metrics:
                outputs.append(output.numpy())
        results = self._results()
        values = {name: float(value) for name, value in results.items()}
        for name, metric in self._set_metrics.items():
            values[name] = float(metric(examples.y, np.concatenate(outputs)))
        return values

    def evaluate_clients(
        self,
        weights: tff.learning.models.ModelWeights,
        clients: FederatedData,
    ) -> dict[str, np.ndarray]:
        """Every client's loss and metrics on its own examples.

        Returns:
          Name -> float64 array of shape [clients], in the order of
          `clients.client_ids`.
        """
        self._assign(weights)
        rows = [
            self._measure(clients.load(client_id))
            for client_id in clients.client_ids
        ]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def groups(task: Task) -> dict[str, tuple[str, FederatedData]]:
    """The clients that can be evaluated one by one.

    Returns:
      "seen" and, where the task has them, "unseen" -> (in words, the clients).
      Those that train are evaluated on their own test examples, or, where they
      have none, on those they train on.
    """
    if task.test_clients is not None:
        known = {
            "seen": ("training clients, on test examples", task.test_clients)
        }
    else:
        known = {
            "seen": ("training clients, on their training examples", task.train)
        }
    if task.unseen is not None:
        known["unseen"] = ("unseen clients, on test examples", task.unseen)
    return known


def report(
    task: Task, weights: tff.learning.models.ModelWeights
) -> dict[str, Any]:
    """Central and per-client metrics, as a JSON object.

    Returns:
      "central": metric -> value on the test set. "clients": a list, one for
      each of `groups`, with "which" (in words), "count", "metrics" (metric ->
      `summarize`) and "worst" (metric -> a list of the worst clients, each with
      "client", "value" and "examples").
    """
    evaluator = Evaluator(task)
    clients = []
    for which, members in groups(task).values():
        sizes = np.array([members.size(name) for name in members.client_ids])
        columns = evaluator.evaluate_clients(weights, members)
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
    central = evaluator.evaluate(weights, task.test)
    return {"central": central, "clients": clients}


def _worst(
    clients: FederatedData, values: np.ndarray, worst_is_highest: bool
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


# What `metrics.csv` says of a metric over clients.
SPREAD = ("mean", "p10", "median", "p90", "gap")


def spread_columns(
    group: str, values: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Columns of metrics.csv, such as seen_accuracy_p10, of a group's values.

    "gap" is that between the mean of the best tenth and of the worst.
    """
    columns = {}
    for name, column in values.items():
        summary = summarize(column, np.ones(len(column)), lower_is_better(name))
        for statistic in SPREAD:
            columns[f"{group}_{name}_{statistic}"] = summary[statistic]
    return columns


def lower_is_better(name: str) -> bool:
    """Whether a metric of this name improves downwards, as losses do."""
    return name.endswith(("loss", "error"))


def summarize(
    values: np.ndarray, examples: np.ndarray, worst_is_highest: bool
) -> dict[str, float]:
    """How a metric is spread over clients.

    Args:
      values: Of shape [clients], the metric of each.
      examples: Of shape [clients], how many examples each has.
      worst_is_highest: Whether small values are good, as for a loss.

    Returns:
      The mean over clients; the mean weighted by examples; the 10th percentile,
      the median and the 90th; the mean of the worst tenth of the clients (at
      least one; Li et al. 2020, "Fair Resource Allocation in Federated
      Learning", table 1), that of the best tenth, and the gap between them.
    """
    tenth = max(1, round(len(values) / 10))
    worst_first = np.sort(values)
    if worst_is_highest:
        worst_first = worst_first[::-1]
    worst = float(np.mean(worst_first[:tenth]))
    best = float(np.mean(worst_first[-tenth:]))
    return {
        "mean": float(np.mean(values)),
        "weighted_mean": float(np.average(values, weights=examples)),
        "p10": float(np.percentile(values, 10)),
        "median": float(np.median(values)),
        "p90": float(np.percentile(values, 90)),
        "worst_10_percent": worst,
        "best_10_percent": best,
        "gap": abs(best - worst),
    }
