"""What a model is worth on given examples, central or a client's."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.datasets.federated import Examples, FederatedData
from tff_pipeline.tasks.task import Task

_BATCH_SIZE = 1000


class Evaluator:
    """Computes a task's loss and metrics, in this process, without TFF.

    All that touches Keras is traced once, here: a Keras model that TFF builds
    later, in a graph of its own, invalidates the calls of earlier ones.
    """

    def __init__(self, task: Task):
        model = task.build_model()
        loss_fn = task.loss_fn()
        loss = tf.keras.metrics.Mean(name="loss")
        metrics = [loss, *task.metrics_fn()]
        # Kept, for the traced functions refer to their variables only weakly.
        self._keep = (model, metrics)
        self._weights = tff.learning.models.ModelWeights.from_model(model)

        @tf.function(input_signature=task.batch_spec)
        def update(x: tf.Tensor, y: tf.Tensor) -> None:
            output = model(x, training=False)
            loss.update_state(loss_fn(y, output), sample_weight=tf.shape(y)[0])
            for metric in metrics[1:]:
                metric.update_state(y, output)

        @tf.function(input_signature=[])
        def reset() -> None:
            for metric in metrics:
                metric.reset_state()

        @tf.function(input_signature=[])
        def results() -> dict[str, tf.Tensor]:
            return {metric.name: metric.result() for metric in metrics}

        self._update = update.get_concrete_function()
        self._reset = reset.get_concrete_function()
        self._results = results.get_concrete_function()

    def evaluate(
        self, weights: tff.learning.models.ModelWeights, examples: Examples
    ) -> dict[str, float]:
        """Loss and metrics by name, means over `examples`.

        Args:
          weights: The model's.
          examples: At least one.
        """
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value),
            (list(self._weights.trainable), list(self._weights.non_trainable)),
            (list(weights.trainable), list(weights.non_trainable)),
        )
        self._reset()
        for start in range(0, len(examples), _BATCH_SIZE):
            batch = slice(start, start + _BATCH_SIZE)
            self._update(
                tf.constant(examples.x[batch]), tf.constant(examples.y[batch])
            )
        results = self._results()
        return {name: float(value) for name, value in results.items()}


def report(
    task: Task, weights: tff.learning.models.ModelWeights
) -> dict[str, Any]:
    """Central and per-client metrics, as a JSON object.

    Returns:
      "central": metric -> value on the test set. "clients": a list of groups,
      the training clients on their own training examples and, where the task
      has them, unseen clients on test examples; each with "which" (in words),
      "count" and "metrics": metric -> `summarize`.
    """
    evaluator = Evaluator(task)
    groups = [("training clients, on their training examples", task.train)]
    if task.unseen is not None:
        groups.append(("unseen clients, on test examples", task.unseen))
    clients = []
    for which, members in groups:
        values = _evaluate_clients(evaluator, weights, members)
        examples = values.pop("examples")
        spread = {
            name: summarize(column, examples, lower_is_better(name))
            for name, column in values.items()
        }
        clients.append(
            {"which": which, "count": len(members), "metrics": spread}
        )
    central = evaluator.evaluate(weights, task.test)
    return {"central": central, "clients": clients}


def _evaluate_clients(
    evaluator: Evaluator,
    weights: tff.learning.models.ModelWeights,
    clients: FederatedData,
) -> dict[str, np.ndarray]:
    """Every client's loss and metrics.

    Returns:
      Name -> float64 array of shape [clients], in the order of
      `clients.client_ids`; under "examples" how many each has.
    """
    rows = [
        evaluator.evaluate(weights, clients.load(client_id))
        for client_id in clients.client_ids
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    sizes = [clients.size(client_id) for client_id in clients.client_ids]
    return {**columns, "examples": np.array(sizes, dtype=np.float64)}


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
      The mean over clients; the mean weighted by examples; the mean of the
      worst tenth of the clients (at least one; Li et al. 2020, "Fair Resource
      Allocation in Federated Learning", table 1), the median, and the mean of
      the best tenth.
    """
    tenth = max(1, round(len(values) / 10))
    worst_first = np.sort(values)
    if worst_is_highest:
        worst_first = worst_first[::-1]
    return {
        "mean": float(np.mean(values)),
        "weighted_mean": float(np.average(values, weights=examples)),
        "worst_10_percent": float(np.mean(worst_first[:tenth])),
        "median": float(np.median(values)),
        "best_10_percent": float(np.mean(worst_first[-tenth:])),
    }
