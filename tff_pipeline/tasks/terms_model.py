"""A model for `tff.learning` whose loss is a mean over terms, such as tokens.

TFF weighs the loss of a batch by its examples, so that a mean over clients is
one over examples. Here batches weigh as much as they have terms.
"""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.models.weight_groups import SentModel
from tff_pipeline.objectives.terms import TermsFn


class TermsModel(SentModel):
    """A Keras model with a loss that tells its terms.

    Attributes:
      loss_terms: Counts the terms of which a batch's loss is the mean, from
        its labels.
    """

    def __init__(
        self,
        keras_model: tf.keras.Model,
        *,
        loss: tf.keras.losses.Loss,
        loss_terms: TermsFn,
        metrics: Sequence[tf.keras.metrics.Metric],
        input_spec: Any,
    ):
        """Wraps a model.

        Args:
          keras_model: The Keras model.
          loss: The loss of the clients' training.
          loss_terms: Counts its terms.
          metrics: What training measures beside the loss.
          input_spec: The TensorSpecs of a batch (x, y).
        """
        super().__init__(keras_model)
        self.loss_terms = loss_terms
        self._loss = loss
        self._mean_loss = tf.keras.metrics.Mean(name="loss")
        self._measured = list(metrics)
        self._counters = [
            tff.learning.metrics.NumExamplesCounter(),
            tff.learning.metrics.NumBatchesCounter(),
        ]
        self._input_spec = input_spec

    @property
    def _metrics(self) -> list[tf.keras.metrics.Metric]:
        return [*self._measured, self._mean_loss, *self._counters]

    @property
    def local_variables(self) -> list[tf.Variable]:
        return [
            variable
            for metric in self._metrics
            for variable in metric.variables
        ]

    @property
    def input_spec(self) -> Any:
        return self._input_spec

    def predict_on_batch(self, x: Any, training: bool = True) -> Any:
        return self._keras_model(x, training=training)

    def forward_pass(
        self, batch_input: Any, training: bool = True
    ) -> tff.learning.models.BatchOutput:
        x, y = batch_input
        predictions = self.predict_on_batch(x, training)
        loss = self._loss(y, predictions)
        for metric in [*self._measured, *self._counters]:
            metric.update_state(y_true=y, y_pred=predictions)
        self._mean_loss.update_state(loss, self.loss_terms(y))
        return tff.learning.models.BatchOutput(
            loss=loss, predictions=predictions, num_examples=tf.shape(y)[0]
        )

    def report_local_unfinalized_metrics(self) -> Any:
        return collections.OrderedDict(
            (metric.name, [v.read_value() for v in metric.variables])
            for metric in self._metrics
        )

    def metric_finalizers(self) -> dict[str, Callable[..., Any]]:
        return collections.OrderedDict(
            (
                metric.name,
                tff.learning.metrics.create_keras_metric_finalizer(metric),
            )
            for metric in self._metrics
        )

    def reset_metrics(self) -> None:
        for metric in self._metrics:
            metric.reset_state()
