"""A task: federated data and the model that is to learn them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.objectives import outputs
from tff_pipeline.objectives.set_metric import SetMetric
from tff_pipeline.runtime import compat

ModelFn = Callable[[], tf.keras.Model]


def _sparse_cross_entropy() -> tf.keras.losses.Loss:
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy() -> list[tf.keras.metrics.Metric]:
    return [tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


@dataclasses.dataclass(frozen=True)
class Task:
    """Federated data with a model that fits them.

    Attributes:
      name: As in `registry.TASKS`.
      train: The clients that train.
      test: The central test set.
      model_fn: Makes a new, uncompiled Keras model; by default it ends in
        logits of classes.
      loss_fn: Makes the loss.
      metrics_fn: Makes the metrics; their names become columns.
      set_metrics: Name -> a metric that is no mean over examples and needs a
        whole test set at once, such as a concordance index.
      test_clients: Test examples of clients that train, where the data have
        such.
      unseen: Examples of clients that never train, likewise.
      augmentations: The names of `--augment` that suit the inputs.
      input_name: What the exported model's input is called.
      outputs_fn: The model's output -> what the exported model gives, by name.
      serving_fn: The trained model -> one of named inputs as users have them,
        which is exported in its place.
      generate_fn: The trained model -> a function that goes on with texts, for
        models of next tokens; see `text_generation.generator`.
      classes: The classes' names, in order, where they have some.
      notes: How the data were read and are scored, where figures depend on it.
    """

    name: str
    train: FederatedData
    test: Examples
    model_fn: ModelFn
    loss_fn: Callable[[], tf.keras.losses.Loss] = _sparse_cross_entropy
    metrics_fn: Callable[[], list[tf.keras.metrics.Metric]] = _accuracy
    set_metrics: Mapping[str, SetMetric] = dataclasses.field(
        default_factory=dict
    )
    test_clients: Optional[FederatedData] = None
    unseen: Optional[FederatedData] = None
    augmentations: Sequence[str] = ()
    input_name: str = "image"
    outputs_fn: Callable[[tf.Tensor], dict[str, tf.Tensor]] = (
        outputs.class_outputs
    )
    serving_fn: Optional[Callable[[tf.keras.Model], tf.keras.Model]] = None
    generate_fn: Optional[Callable[[tf.keras.Model], tf.Module]] = None
    classes: Sequence[str] = ()
    notes: str = ""
    _outputs: int = dataclasses.field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Raises `ConfigError` if the model does not fit the data."""
        model = self.build_model()
        if model.inputs is None:
            output = model(self._blank())
        else:
            self._check_ends(model)
            output = model.outputs[0]
        for layer in compat.all_layers(model):
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                raise errors.ConfigError(
                    f"The model of {self.name} has the layer {layer.name}, a "
                    "BatchNormalization: its statistics would never leave a "
                    "client; use GroupNormalization."
                )
        object.__setattr__(self, "_outputs", output.shape[-1])
        self.check(self.test, "the test set")

    def _check_ends(self, model: tf.keras.Model) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise errors.ConfigError(
                f"The model of {self.name} has {len(model.inputs)} inputs and "
                f"{len(model.outputs)} outputs; a task needs one of each."
            )
        wanted, given = model.inputs[0], self.test.x
        if (
            not wanted.shape[1:].is_compatible_with(given.shape[1:])
            or wanted.dtype.as_numpy_dtype != given.dtype.type
        ):
            raise errors.ConfigError(
                f"The model of {self.name} takes {wanted.dtype.name} of shape "
                f"{tuple(wanted.shape[1:])}, but its data are "
                f"{given.dtype.name} of shape {given.shape[1:]}."
            )

    def build_model(self) -> tf.keras.Model:
        """A new model with its weights, a subclassed one too."""
        model = self.model_fn()
        if not model.built:
            # A subclassed model learns its shapes when it is called.
            model(self._blank())
        return model

    def _blank(self) -> tf.Tensor:
        """A batch of one input, all zeros."""
        return tf.zeros([1, *self.test.x.shape[1:]], self.test.x.dtype)

    def check(self, examples: Examples, whose: str) -> None:
        """Raises `DataError`, naming `whose`, if the model cannot take them.

        That is, if there are none, they are of other types than the test set,
        or have a label that the model has no output for.
        """
        if not len(examples):
            raise errors.DataError(f"{whose} of {self.name} has no examples.")
        for given, wanted in (
            (examples.x, self.test.x),
            (examples.y, self.test.y),
        ):
            if given.dtype.type != wanted.dtype.type:
                raise errors.DataError(
                    f"{whose} of {self.name} has {given.dtype.name} where the "
                    f"test set has {wanted.dtype.name}."
                )
        labels, classes = examples.y, self._outputs
        if not np.issubdtype(labels.dtype, np.integer):
            return
        if labels.min() < 0 or labels.max() >= classes:
            wrong = labels.max() if labels.min() >= 0 else labels.min()
            raise errors.DataError(
                f"{whose} of {self.name} has the label {wrong}; the model has "
                f"{classes} outputs, so labels are 0 to {classes - 1}."
            )

    @property
    def metric_names(self) -> list[str]:
        """What is measured in training: "loss", then the metrics' names."""
        return ["loss", *(metric.name for metric in self.metrics_fn())]

    @property
    def evaluated_names(self) -> list[str]:
        """What is measured on a test set: `metric_names` and `set_metrics`."""
        return [*self.metric_names, *self.set_metrics]

    @property
    def batch_spec(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """The TensorSpecs of a batch (x, y) of any size."""

        def spec(values: np.ndarray) -> tf.TensorSpec:
            return tf.TensorSpec([None, *values.shape[1:]], values.dtype)

        return spec(self.test.x), spec(self.test.y)

    def tff_model_fn(self) -> tff.learning.models.VariableModel:
        """Wraps a new model for `tff.learning`; TFF calls it in its graphs."""
        return tff.learning.models.from_keras_model(
            self.build_model(),
            loss=self.loss_fn(),
            input_spec=self.batch_spec,
            metrics=self.metrics_fn(),
        )
