"""Evaluates a model on a set of examples, such as the central test set."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.objectives import terms
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

# The most numbers in a batch of outputs: 100 MB, and a loss makes a few copies.
_BATCH_NUMBERS = 25_000_000


class Evaluator:
    """Computes a task's loss and metrics in this process, without TFF.

    Everything that touches Keras is traced once, in the constructor: a Keras
    model that TFF builds later, in a graph of its own, invalidates the calls of
    earlier models.

    Attributes:
      batch_size: The number of examples that are evaluated at once.
    """

    @compat.without_rewriting()
    def __init__(self, task: Task):
        """Builds the task's model and traces its evaluation.

        Args:
          task: The task whose model, loss and metrics are computed.
        """
        model = task.build_model()
        self._set_metrics = task.set_metrics
        loss_fn = task.loss_fn()
        loss_terms = terms.terms_fn(loss_fn) or (lambda y: tf.shape(y)[0])
        loss = tf.keras.metrics.Mean(name="loss")
        metrics = [loss, *task.metrics_fn()]
        # Kept, for the traced functions refer to their variables only weakly.
        self._keep = (model, metrics)
        self._weights = weight_groups(model).sent

        output_shapes: list[tf.TensorShape] = []

        @compat.plain
        def update(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            output = model(x, training=False)
            loss.update_state(loss_fn(y, output), sample_weight=loss_terms(y))
            for metric in metrics[1:]:
                metric.update_state(y, output)
            output_shapes.append(output.shape)
            return task.set_output_fn(output)

        @compat.plain
        def reset() -> None:
            for metric in metrics:
                metric.reset_state()

        @compat.plain
        def results() -> dict[str, tf.Tensor]:
            return {metric.name: metric.result() for metric in metrics}

        self._update = tf.function(
            update, input_signature=task.batch_spec
        ).get_concrete_function()
        self.batch_size = task.most_at_once
        # Of sequences over 10,000 words, 1,000 would be most of a gigabyte.
        numbers = output_shapes[0][1:].num_elements()
        if numbers is not None:
            most = max(1, _BATCH_NUMBERS // max(1, numbers))
            self.batch_size = min(self.batch_size, most)
        self._reset = tf.function(reset).get_concrete_function()
        self._results = tf.function(results).get_concrete_function()

    def evaluate(
        self, weights: tff.learning.models.ModelWeights, examples: Examples
    ) -> dict[str, float]:
        """Computes loss and metrics of a model on examples.

        Args:
          weights: The model's weights, arrays in the order of its variables.
          examples: At least one example.

        Returns:
          The loss, each metric and each set metric of the task, by name; NaN
          where a set metric is not defined.
        """
        self.assign(weights)
        return self.measure(examples)

    def assign(self, weights: tff.learning.models.ModelWeights) -> None:
        """Sets the weights that `measure` evaluates from now on.

        Args:
          weights: The model's weights, arrays in the order of its variables.
        """
        tf.nest.map_structure(
            lambda variable, value: variable.assign(value),
            (list(self._weights.trainable), list(self._weights.non_trainable)),
            (list(weights.trainable), list(weights.non_trainable)),
        )

    def measure(self, examples: Examples) -> dict[str, float]:
        """Computes loss and metrics with the weights that were assigned last.

        Args:
          examples: At least one example.

        Returns:
          The same as `evaluate`.
        """
        values, _ = self._measure(examples, bool(self._set_metrics))
        return values

    def measure_and_keep(
        self, examples: Examples
    ) -> tuple[dict[str, float], Array]:
        """Does as `measure`, and returns what the model puts out as well.

        Args:
          examples: At least one example.

        Returns:
          (the same as `evaluate`, the outputs [n, ...], of which the task's
          `set_output_fn` may have kept a part).
        """
        values, outputs = self._measure(examples, True)
        return values, np.concatenate(outputs)

    def _measure(
        self, examples: Examples, keep: bool
    ) -> tuple[dict[str, float], list[Array]]:
        self._reset()
        outputs: list[Array] = []
        for start in range(0, len(examples), self.batch_size):
            batch = slice(start, start + self.batch_size)
            output = self._update(
                tf.constant(examples.x[batch]), tf.constant(examples.y[batch])
            )
            if keep:
                outputs.append(output.numpy())
        results = self._results()
        values = {name: float(value) for name, value in results.items()}
        for name, metric in self._set_metrics.items():
            values[name] = float(metric(examples.y, np.concatenate(outputs)))
        return values, outputs
