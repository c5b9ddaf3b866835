"""Says what of a Keras model would be lost or go wrong in federated training.

Each reason is the end of a sentence that starts with the model's name.
"""

from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.models import frozen
from tff_pipeline.runtime import compat


def unfit(model: tf.keras.Model, other: tf.keras.Model) -> Optional[str]:
    """Finds the first reason for which a user's model cannot be trained.

    Args:
      model: A model that has been called with examples.
      other: The model that the same function made next.

    Returns:
      The reason and what to do, or `None`.
    """
    return (
        _shared(model, other)
        or _unequal(model, other)
        or _layers(model)
        or _losses(model)
        or _weights(model)
    )


def _shared(model: tf.keras.Model, other: tf.keras.Model) -> Optional[str]:
    todo = (
        "every process and graph needs its own: make all layers within the "
        "function"
    )
    if model is other:
        return f"is the same object at every call, but {todo}"
    mine = {id(layer) for layer in compat.all_layers(model)}
    mine |= {
        id(variable)
        for variable in model.variables
        if frozen.weights_of(variable) is None
    }
    for each in (*compat.all_layers(other), *other.variables):
        if id(each) in mine:
            return f"has {each.name} in common with the next call's, but {todo}"
    return None


def _unequal(model: tf.keras.Model, other: tf.keras.Model) -> Optional[str]:
    shapes = [
        [tuple(variable.shape) for variable in each.weights]
        for each in (model, other)
    ]
    if shapes[0] != shapes[1]:
        return (
            "has weights of other shapes at the next call, but every process "
            "must make the same model: let nothing in it be drawn at random"
        )
    return None


def _layers(model: tf.keras.Model) -> Optional[str]:
    for layer in compat.all_layers(model):
        name = f"the layer {layer.name}"
        normalization = isinstance(layer, tf.keras.layers.Normalization)
        if normalization and layer.input_mean is None:
            return (
                f"has {name}, a Normalization whose statistics come from "
                "adapt(), which would not travel with the model; give them as "
                "Normalization(mean=..., variance=...)"
            )
        if getattr(layer, "is_adapted", False):
            return (
                f"has {name}, whose state comes from adapt(), which would not "
                "travel with the model; give it as an argument, such as "
                "vocabulary=[...]"
            )
        if isinstance(layer, tf.keras.layers.RNN) and layer.stateful:
            return (
                f"has {name} with stateful=True, whose state would go from one "
                "client's examples to the next's; leave stateful out"
            )
    return None


def _losses(model: tf.keras.Model) -> Optional[str]:
    # A regularizer's loss is computed whenever it is asked for; a loss that
    # the last call left behind is the same tensor each time.
    if any(each is again for each, again in zip(model.losses, model.losses)):
        return (
            "adds a loss while it is called (add_loss or "
            "activity_regularizer), which TFF's graphs do not take; take it "
            "out (a kernel_regularizer is kept)"
        )
    return None


def _weights(model: tf.keras.Model) -> Optional[str]:
    if not model.trainable_variables:
        return "has no weights that are trained; give it a layer that has some"
    for variable in model.trainable_variables:
        constraint: Any = variable.constraint
        if constraint is not None:
            kind = getattr(constraint, "__name__", type(constraint).__name__)
            return (
                f"has the constraint {kind} on {variable.name}, which an "
                "average of clients' updates would not keep; take it out (a "
                "kernel_regularizer is kept)"
            )
        if variable.dtype != tf.float32:
            return (
                f"has {variable.name} of type {variable.dtype.name}; weights "
                "that are trained are float32: leave dtype and "
                "tf.keras.backend.set_floatx out"
            )
    return None
