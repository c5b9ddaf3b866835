"""A task: federated data and the model that is trained on them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.language import TextTokenizer
from tff_pipeline.datasets.readers.column_guard import ColumnUse
from tff_pipeline.models import frozen, initial_weights
from tff_pipeline.models.transformer.adapter import Adapter
from tff_pipeline.models.transformer.base import Base
from tff_pipeline.models.weight_groups import WithoutFrozen, weight_groups
from tff_pipeline.objectives import outputs, terms
from tff_pipeline.objectives.scaled_error import ScaledSquaredError
from tff_pipeline.objectives.set_metric import SetMetric
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.terms_model import TermsModel

ModelFn = Callable[[], tf.keras.Model]


def _sparse_cross_entropy() -> tf.keras.losses.Loss:
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _accuracy() -> list[tf.keras.metrics.Metric]:
    return [tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


@dataclasses.dataclass(frozen=True)
class Task:
    """Federated data with a model that fits them.

    Attributes:
      name: The task's name in `registry.TASKS`.
      train: The clients that train.
      test: The central test set.
      model_fn: Makes a new, uncompiled Keras model; by default its outputs are
        logits of classes. Some of its weights may be frozen; see
        `models.frozen`.
      loss_fn: Makes the loss.
      training_loss_fn: Makes the loss of the clients' training, where it is
        not `loss_fn`; evaluation always has that.
      metrics_fn: Makes the metrics; their names become columns.
      set_metrics: Name -> a metric that is no mean over examples and needs a
        whole test set at once, such as a concordance index.
      set_output_fn: The model's output for a batch -> what `set_metrics` take
        of it, where that is smaller; it is kept for a whole test set.
      most_at_once: The largest number of examples to evaluate at once.
      test_clients: Test examples of the clients that train, if there are any.
      unseen: Examples of clients that never train, if there are any.
      validation: Examples to choose on, which neither train nor are tested on,
        if there are any.
      augmentations: The names of `--augment` that suit the inputs.
      input_name: The name of the exported model's input.
      outputs_fn: The model's output -> the exported model's outputs by name.
      serving_fn: The trained model -> a model whose named inputs are as users
        have them, which is exported in its place.
      encoder_fn: Makes the layers from `x` to what a user's own model takes,
        for data that no model takes as they are, such as a table's rows.
      column_names: The name that a column has in the users' data by the input
        of `serving_fn`'s model that it is; empty for data without columns.
      form: What people who fill those inputs in should know of each, see
        `models.table_form`; empty for data without columns.
      labels: The names of what is predicted, one an output, if it has names.
      generate_fn: The trained model -> a function that continues texts, for
        models of next tokens; see `text_generation.generator`.
      classes: The classes' names in order, if they have names.
      columns: What becomes of each column, for data in columns.
      fitted_columns: The columns of users' data whose statistics, such as
        categories or a scale, the model holds, with the flag of the file that
        could have told them; `None` where no account is kept of it.
      padding_label: The label of places in a sequence that have none, which is
        no class; `None` if all labels are classes.
      notes: How the data were read and are scored, where figures depend on it.
      adapter_fn: The trained model -> the low-rank adapter of its base, for
        models that train little more; where there is `merged_fn`, it is
        exported in the model's place.
      factor_places: The places among the trainable weights of each matrix's
        factors A and B, where both are averaged.
      merged_fn: The trained model -> the same without an adapter, which is
        added to the weights of its base; `None` where it cannot be.
      base: The pretrained model that the model begins with or stands on, if
        there is one.
      tokenizer: Turns text into the model's ids and back, for models that
        write text.
      memory_fn: The number of examples in a step -> (the bytes that a process
        takes once, those that each client that trains takes), estimates; or
        `None`.
      begins_with: Names of files, other than the data, that the model begins
        with -> SHA-256.
      initial_values: The name of a weight, as in `weight_names` -> numbers that
        it begins with in place of drawn ones.
      frozen_weights: The frozen weights that the model uses, in the order in
        which it uses them first; derived from `model_fn`.
      weight_names: The names of the weights that travel, by their group; see
        `initial_weights.names`. Derived from `model_fn`.
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
    set_output_fn: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    most_at_once: int = 1000
    training_loss_fn: Optional[Callable[[], tf.keras.losses.Loss]] = None
    test_clients: Optional[FederatedData] = None
    unseen: Optional[FederatedData] = None
    validation: Optional[Examples] = None
    augmentations: Sequence[str] = ()
    input_name: str = "image"
    outputs_fn: Callable[[tf.Tensor], dict[str, tf.Tensor]] = (
        outputs.class_outputs
    )
    serving_fn: Optional[Callable[[tf.keras.Model], tf.keras.Model]] = None
    encoder_fn: Optional[Callable[[], tf.keras.Model]] = None
    column_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    form: Sequence[Mapping[str, Any]] = ()
    labels: Sequence[str] = ()
    generate_fn: Optional[Callable[[tf.keras.Model], tf.Module]] = None
    classes: Sequence[str] = ()
    columns: Sequence[ColumnUse] = ()
    fitted_columns: Optional[Mapping[str, str]] = None
    padding_label: Optional[int] = None
    notes: str = ""
    adapter_fn: Optional[Callable[[tf.keras.Model], Adapter]] = None
    merged_fn: Optional[Callable[[tf.keras.Model], tf.keras.Model]] = None
    base: Optional[Base] = None
    tokenizer: Optional[TextTokenizer] = None
    factor_places: Sequence[tuple[int, int]] = ()
    memory_fn: Optional[Callable[[int], tuple[int, int]]] = None
    begins_with: Mapping[str, str] = dataclasses.field(default_factory=dict)
    initial_values: Mapping[str, npt.NDArray[Any]] = dataclasses.field(
        default_factory=dict, repr=False
    )
    frozen_weights: tuple[frozen.FrozenWeights, ...] = dataclasses.field(
        init=False, repr=False, default=()
    )
    weight_names: Mapping[str, Sequence[str]] = dataclasses.field(
        init=False, repr=False, default_factory=dict
    )
    _outputs: int = dataclasses.field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        """Raises `ConfigError` if the model does not fit the data."""
        model = self.build_model()
        if model.inputs is None:
            output = model(self.blank())
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
        bases = {
            weights.sha256: weights
            for weights in map(frozen.weights_of, weight_groups(model).frozen)
            if weights is not None
        }
        object.__setattr__(self, "frozen_weights", tuple(bases.values()))
        names = initial_weights.names(model)
        object.__setattr__(self, "weight_names", names)
        self.check(self.test, "the test set")
        if self.validation is not None:
            self.check(self.validation, "the validation set")

    def _check_ends(self, model: tf.keras.Model) -> None:
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise errors.ConfigError(
                f"The model of {self.name} has {len(model.inputs)} inputs and "
                f"{len(model.outputs)} outputs; a task needs one of each."
            )
        takes, x = model.inputs[0], self.test.x
        if (
            not takes.shape[1:].is_compatible_with(x.shape[1:])
            or takes.dtype.as_numpy_dtype != x.dtype.type
        ):
            raise errors.ConfigError(
                f"The model of {self.name} takes {takes.dtype.name} of shape "
                f"{tuple(takes.shape[1:])}, but its data are "
                f"{x.dtype.name} of shape {x.shape[1:]}."
            )

    def build_model(self) -> tf.keras.Model:
        """Makes a new model that has its variables, a subclassed one too."""
        model = self.model_fn()
        if not model.built:
            # A subclassed model learns its shapes when it is called.
            model(self.blank())
        return model

    def blank(self) -> tf.Tensor:
        """Makes a batch of one input, all zeros."""
        return tf.zeros([1, *self.test.x.shape[1:]], self.test.x.dtype)

    def check(self, examples: Examples, whose: str) -> None:
        """Checks that the model can take examples.

        Args:
          examples: The examples, of a client or of a test set.
          whose: Who holds them, for the message.

        Raises:
          DataError: If there are none, their dtypes are not those of the test
            set, or the model has no output for one of their labels.
        """
        if not len(examples):
            raise errors.DataError(f"{whose} of {self.name} has no examples.")
        for array, in_test in (
            (examples.x, self.test.x),
            (examples.y, self.test.y),
        ):
            if array.dtype.type != in_test.dtype.type:
                raise errors.DataError(
                    f"{whose} of {self.name} has {array.dtype.name} where the "
                    f"test set has {in_test.dtype.name}."
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
        """The names of what training measures: "loss", then the metrics."""
        return ["loss", *(metric.name for metric in self.metrics_fn())]

    @property
    def evaluated_names(self) -> list[str]:
        """The names of what a test set measures: with `set_metrics` too."""
        return [*self.metric_names, *self.set_metrics]

    @property
    def predicts(self) -> str:
        """What the model predicts of an example: "class", "numbers" or "".

        It is empty for all else: tags, next tokens, ratings, several labels.
        """
        loss, y = self.loss_fn(), self.test.y
        losses = tf.keras.losses
        if isinstance(loss, losses.SparseCategoricalCrossentropy):
            return "class" if y.ndim == 1 else ""
        if isinstance(loss, losses.BinaryCrossentropy):
            logits = loss.get_config()["from_logits"]
            return "class" if logits and y.shape[1:] == (1,) else ""
        if isinstance(loss, ScaledSquaredError):
            return "numbers" if y.ndim == 2 else ""
        return ""

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the classes, their numbers where they have none."""
        # One output stands for two classes; see `binary.logit_cross_entropy`.
        return self.classes or list(map(str, range(max(2, self._outputs))))

    @property
    def batch_spec(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """The TensorSpecs of a batch (x, y) of any size."""

        def spec(values: npt.NDArray[Any]) -> tf.TensorSpec:
            return tf.TensorSpec([None, *values.shape[1:]], values.dtype)

        return spec(self.test.x), spec(self.test.y)

    def clients_loss(self) -> tf.keras.losses.Loss:
        """Makes the loss of the clients' training."""
        return (self.training_loss_fn or self.loss_fn)()

    def frozen_hashes(self) -> dict[str, str]:
        """Names by content what the model is made of, for a run's record.

        Returns:
          A name that tells them apart -> SHA-256; empty without frozen weights.
          Where their folders lie is not told: these may differ from machine to
          machine.
        """
        return {
            **self.begins_with,
            **{
                f"frozen weights {number}": weights.sha256
                for number, weights in enumerate(self.frozen_weights, 1)
            },
        }

    def tff_model_fn(self) -> tff.learning.models.VariableModel:
        """Wraps a new model for `tff.learning`; TFF calls it in its graphs.

        Returns:
          A model whose trainable and non-trainable variables leave the frozen
          ones out, so that TFF neither sends nor keeps these.
        """
        keras_model = self.build_model()
        loss = self.clients_loss()
        loss_terms = terms.terms_fn(loss)
        if loss_terms is not None:
            return TermsModel(
                keras_model,
                loss=loss,
                loss_terms=loss_terms,
                metrics=self.metrics_fn(),
                input_spec=self.batch_spec,
            )
        model = tff.learning.models.from_keras_model(
            keras_model,
            loss=loss,
            input_spec=self.batch_spec,
            metrics=self.metrics_fn(),
        )
        if self.frozen_weights:
            return WithoutFrozen(keras_model, model)
        return model
