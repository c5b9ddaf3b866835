"""What a model is worth on given examples, central or a client's."""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.datasets.federated import Examples, FederatedData
from tff_pipeline.tasks.task import Task

_BATCH_SIZE = 1000


class Evaluator:
    """Computes a task's loss and metrics, in this process, without TFF."""

    def __init__(self, task: Task):
        self._model = task.model_fn()
        self._loss_fn = task.loss_fn()
        self._loss = tf.keras.metrics.Mean(name="loss")
        self._metrics = task.metrics_fn()
        self._step = tf.function(
            self._update, input_signature=task.batch_spec
        )

    @property
    def names(self) -> list[str]:
        """The names of what is computed: "loss", then the task's metrics."""
        return [metric.name for metric in [self._loss, *self._metrics]]

    def evaluate(
        self, weights: tff.learning.models.ModelWeights, examples: Examples
    ) -> dict[str, float]:
        """Loss and metrics by name, means over `examples`.

        Args:
          weights: The model's.
          examples: At least one.
        """
        weights.assign_weights_to(self._model)
        for metric in [self._loss, *self._metrics]:
            metric.reset_state()
        for start in range(0, len(examples), _BATCH_SIZE):
            batch = slice(start, start + _BATCH_SIZE)
            self._step(examples.x[batch], examples.y[batch])
        return {
            metric.name: float(metric.result())
            for metric in [self._loss, *self._metrics]
        }

    def _update(self, x: tf.Tensor, y: tf.Tensor) -> None:
        output = self._model(x, training=False)
        self._loss.update_state(
            self._loss_fn(y, output), sample_weight=tf.shape(y)[0]
        )
        for metric in self._metrics:
            metric.update_state(y, output)


def evaluate_clients(
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
    columns = {
        name: np.array([row[name] for row in rows]) for name in evaluator.names
    }
    sizes = [clients.size(client_id) for client_id in clients.client_ids]
    return {**columns, "examples": np.array(sizes, dtype=np.float64)}


def summarize(
    values: np.ndarray, examples: np.ndarray, lower_is_better: bool
) -> dict[str, float]:
    """How a metric is spread over clients.

    Args:
      values: Of shape [clients], the metric of each.
      examples: Of shape [clients], how many examples each has.
      lower_is_better: Whether the worst clients have the largest values.

    Returns:
      The mean over clients; the mean weighted by examples; the mean of the
      worst tenth of the clients (at least one; Li et al. 2020, "Fair Resource
      Allocation in Federated Learning", table 1), the median, and the mean of
      the best tenth.
    """
    tenth = max(1, round(len(values) / 10))
    worst_first = np.sort(values)
    if lower_is_better:
        worst_first = worst_first[::-1]
    return {
        "mean": float(np.mean(values)),
        "weighted_mean": float(np.average(values, weights=examples)),
        "worst_10_percent": float(np.mean(worst_first[:tenth])),
        "median": float(np.median(values)),
        "best_10_percent": float(np.mean(worst_first[-tenth:])),
    }
