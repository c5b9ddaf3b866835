"""Compares the loss that a Keras model is compiled with to a task's."""

import dataclasses
from typing import Any, Optional

import tensorflow as tf

_CROSS_ENTROPIES = {
    "SparseCategoricalCrossentropy",
    "CategoricalCrossentropy",
    "BinaryCrossentropy",
}
_SQUARED_ERRORS = {"MeanSquaredError"}
_CLASS_OF = {
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
    "mean_squared_error": "MeanSquaredError",
    "mse": "MeanSquaredError",
    "MSE": "MeanSquaredError",
}


@dataclasses.dataclass(frozen=True)
class CompiledLoss:
    """The loss of a compiled model.

    Attributes:
      name: The class's name in `tf.keras.losses`, or what there is of a name.
      from_logits: Whether it takes logits; `None` where it does not say.
      plain: Whether it has no option, such as label smoothing, that changes
        what is learned.
    """

    name: str
    from_logits: Optional[bool]
    plain: bool

    @property
    def is_cross_entropy(self) -> bool:
        """True for a cross-entropy of classes or labels."""
        return self.plain and self.name in _CROSS_ENTROPIES

    @property
    def is_squared_error(self) -> bool:
        """True for the mean squared error."""
        return self.plain and self.name in _SQUARED_ERRORS


def is_compiled(model: tf.keras.Model) -> bool:
    """Returns whether a model was compiled.

    Args:
      model: Any Keras model.
    """
    return getattr(model, "optimizer", None) is not None


def loss_of(model: tf.keras.Model) -> Optional[CompiledLoss]:
    """Returns the loss that a model was compiled with.

    Args:
      model: Any Keras model.

    Returns:
      `None` if it is not compiled, or without a loss.

    >>> model = tf.keras.Sequential([tf.keras.layers.Dense(2)])
    >>> loss_of(model)
    >>> model.compile("sgd", "mse")
    >>> loss_of(model).name
    'MeanSquaredError'
    """
    loss: Any = getattr(model, "loss", None)
    if not loss:
        return None
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        (loss,) = loss
    if isinstance(loss, dict) and len(loss) == 1:
        (loss,) = loss.values()
    if isinstance(loss, tf.keras.losses.Loss):
        options = loss.get_config()
        return CompiledLoss(
            type(loss).__name__,
            options.get("from_logits"),
            not options.get("label_smoothing"),
        )
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    name = _CLASS_OF.get(name, name) or type(loss).__name__
    logits = False if name in _CROSS_ENTROPIES else None
    return CompiledLoss(name, logits, True)
