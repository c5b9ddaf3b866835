"""The three groups of a model's weights: trainable, non-trainable, frozen.

Trainable weights go to clients and come back as updates; non-trainable weights
go to clients; frozen weights (see `frozen`) go nowhere.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Union

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.models import frozen


class WeightGroups(NamedTuple):
    """The variables of a model, each in one group.

    Attributes:
      trainable: The variables that clients train.
      non_trainable: The other variables that the server sends.
      frozen: The variables that every process loads by itself.
    """

    trainable: list[tf.Variable]
    non_trainable: list[tf.Variable]
    frozen: list[tf.Variable]

    @property
    def sent(self) -> tff.learning.models.ModelWeights:
        """The variables that a server's state holds, in TFF's structure.

        `ModelWeights.from_model` and `ModelWeights.assign_weights_to` go
        through all variables of a Keras model, frozen ones too.
        """
        return tff.learning.models.ModelWeights(
            self.trainable, self.non_trainable
        )

    def num_bytes(self) -> dict[str, int]:
        """Counts the bytes of each group.

        Returns:
          "trainable", "non_trainable" and "frozen" -> bytes in memory.
        """
        return {
            group: sum(v.dtype.size * v.shape.num_elements() for v in variables)
            for group, variables in self._asdict().items()
        }


def weight_groups(
    model: Union[tf.keras.Model, tff.learning.models.VariableModel],
) -> WeightGroups:
    """Sorts the variables of a model.

    Args:
      model: A Keras model with weights, or a `SentModel`.

    Returns:
      Its variables, in each group in the model's order.
    """

    def sent(variables: Iterable[tf.Variable]) -> list[tf.Variable]:
        return [v for v in variables if frozen.weights_of(v) is None]

    if isinstance(model, SentModel):
        model = model._keras_model
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return WeightGroups(
        sent(model.trainable_variables),
        sent(model.non_trainable_variables),
        [v for v in variables if frozen.weights_of(v) is not None],
    )


class SentModel(tff.learning.models.VariableModel):
    """Base of models for `tff.learning` that do not show it frozen variables.

    Subclasses compute the loss.
    """

    def __init__(self, keras_model: tf.keras.Model):
        """Sorts the variables.

        Args:
          keras_model: The Keras model.
        """
        # Named as TFF names it, where random layers are looked for.
        self._keras_model = keras_model
        self._groups = weight_groups(keras_model)

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        return self._groups.trainable

    @property
    def non_trainable_variables(self) -> list[tf.Variable]:
        return self._groups.non_trainable


class WithoutFrozen(SentModel):
    """A model of TFF whose frozen variables TFF does not see."""

    def __init__(
        self,
        keras_model: tf.keras.Model,
        model: tff.learning.models.VariableModel,
    ):
        """Wraps a model.

        Args:
          keras_model: The Keras model.
          model: What `tff.learning.models.from_keras_model` made of it.
        """
        super().__init__(keras_model)
        self._model = model

    @property
    def local_variables(self) -> list[tf.Variable]:
        return self._model.local_variables

    @property
    def input_spec(self) -> Any:
        return self._model.input_spec

    def forward_pass(
        self, batch_input: Any, training: bool = True
    ) -> tff.learning.models.BatchOutput:
        return self._model.forward_pass(batch_input, training)

    def predict_on_batch(self, x: Any, training: bool = True) -> Any:
        return self._model.predict_on_batch(x, training)

    def report_local_unfinalized_metrics(self) -> Any:
        return self._model.report_local_unfinalized_metrics()

    def metric_finalizers(self) -> Any:
        return self._model.metric_finalizers()

    def reset_metrics(self) -> None:
        self._model.reset_metrics()
