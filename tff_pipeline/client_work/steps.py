"""The steps of one client: a loop over slices of its examples' order."""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import keyed_generator
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.config import ClientConfig

ModelFn = Callable[[], tff.learning.models.VariableModel]


def without_initial_values(
    model_fn: ModelFn,
) -> tff.learning.models.VariableModel:
    """The model, its weights starting from whatever is in the memory.

    A client starts from the server's weights; drawing random ones first, in
    every round for every client, costs more than a small client's training.
    If the model makes variables that the server does not send, it is as
    `model_fn` makes it.
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
    known = {v.ref() for v in tf.nest.flatten(sent)}
    if all(variable.ref() in known for variable in emptied):
        return model
    return model_fn()


def train(
    model: tff.learning.models.VariableModel,
    generators: Sequence[keyed_generator.KeyedGenerator],
    optimizer: tff.learning.optimizers.Optimizer,
    options: ClientConfig,
    weights: Any,
    block: Any,
    gradients_fn: Optional[ExampleDp],
) -> Any:
    """All steps of one client: (result, metrics, 1 if it is dropped)."""
    variables = tff.learning.models.ModelWeights.from_model(model)
    tf.nest.map_structure(lambda v, w: v.assign(w), variables, weights)
    trainable = variables.trainable
    specs = tuple(tf.TensorSpec(v.shape, v.dtype) for v in trainable)
    size = options.batch_size
    epochs, examples = tf.unstack(tf.shape(block["order"]))
    steps = (examples + size - 1) // size
    total, weight = epochs * steps, epochs * examples
    if options.steps_per_round is not None:
        # As many steps for all, so what a client counts for is its data.
        total, weight = tf.constant(options.steps_per_round), examples

    def of_batch(number: tf.Tensor) -> Sequence[tf.Tensor]:
        epoch, batch = number // steps, number % steps
        chosen = block["order"][epoch, batch * size : (batch + 1) * size]
        x = tf.gather(block["x"], chosen)
        y = tf.gather(block["y"], chosen)
        with tf.GradientTape() as tape:
            output = model.forward_pass((x, y), training=True)
        return tape.gradient(output.loss, trainable)

    def step(number: tf.Tensor, state: Any) -> Any:
        for generator in generators:
            generator.begin(block["key"], number)
        if gradients_fn is None:
            gradients = of_batch(number)
        else:
            gradients = gradients_fn(model, block, number)
        state, values = optimizer.next(
            state,
            tuple(v.read_value() for v in trainable),
            tuple(gradients),
        )
        for variable, value in zip(trainable, values):
            variable.assign(value)
        return number + 1, state

    tf.while_loop(
        lambda number, _: number < total,
        step,
        (tf.constant(0), optimizer.initialize(specs)),
    )
    update = tf.nest.map_structure(
        tf.subtract, weights.trainable, [v.read_value() for v in trainable]
    )
    finite = _all_finite(update)

    def if_finite(values: Any) -> Any:
        # Not tf.where, which would copy them.
        return tf.cond(
            finite,
            lambda: values,
            lambda: tf.nest.map_structure(tf.zeros_like, values),
        )

    weight = tf.cast(weight, tf.float32)
    if options.weighting == "uniform":
        weight = tf.constant(1.0)
    return (
        tff.learning.templates.ClientResult(
            update=if_finite(update), update_weight=if_finite(weight)
        ),
        if_finite(model.report_local_unfinalized_metrics()),
        1 - tf.cast(finite, tf.int32),
    )


def _all_finite(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether all numbers are finite, a bool scalar."""
    # One pass, and nearly always enough; a sum may overflow, though.
    total = tf.add_n([tf.cast(tf.reduce_sum(v), tf.float32) for v in values])
    return tf.cond(
        tf.math.is_finite(total),
        lambda: tf.constant(True),
        lambda: tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(value)) for value in values]
        ),
    )
