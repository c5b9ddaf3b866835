"""A model without drawn weights, for clients that receive theirs."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

ModelFn = Callable[[], tff.learning.models.VariableModel]


def without_initial_values(
    model_fn: ModelFn,
) -> tff.learning.models.VariableModel:
    """Makes the model without drawing initial weights.

    A client starts from the server's weights; drawing random ones first, in
    every round for every client, costs more than a small client's training.
    Initial weights are whatever is in memory, unless the model makes variables
    that neither the server sends nor the client keeps; then all are initialized
    as usual.

    Args:
      model_fn: Makes the model; called a second time if all are initialized.
    """
    emptied = []

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        shape, dtype = arguments.get("shape"), arguments.get("dtype")
        is_metric = (
            arguments.get("synchronization")
            == tf.VariableSynchronization.ON_READ
        )
        if (
            is_metric
            or shape is None
            or dtype is None
            or not callable(arguments["initial_value"])
        ):
            return next_creator(**arguments)
        arguments["initial_value"] = lambda: tf.raw_ops.Empty(
            shape=shape, dtype=dtype
        )
        emptied.append(next_creator(**arguments))
        return emptied[-1]

    with tf.variable_creator_scope(create):
        model = model_fn()
    sent = tff.learning.models.ModelWeights.from_model(model)
    # Layers that stay on a client get their values from it.
    kept = getattr(model, "kept_variables", ())
    known = {v.ref() for v in (*tf.nest.flatten(sent), *kept)}
    if all(variable.ref() in known for variable in emptied):
        return model
    return model_fn()
