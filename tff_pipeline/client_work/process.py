"""What a client does in a round, in one piece: a block of data, one loop.

`tff.learning` feeds a client's steps from a dataset of batches, whose iterator
costs more than a small step. Here a client's data are a block of arrays, read
once, with the order of every epoch beside them, and its steps are one
`tf.while_loop` over slices of that order. A last, smaller batch is a smaller
slice: nothing is padded or masked, and one compiled shape serves all clients.

The result is an ordinary `tff.learning.templates.ClientWorkProcess`.
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import randomness
from tff_pipeline.client_work import keyed_generator
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.config import ClientConfig
from tff_pipeline.datasets.federation.federated_data import Examples

ModelFn = Callable[[], tff.learning.models.VariableModel]
# What leaves a client, from its update and its block.
Release = Callable[[Any, Mapping[str, tf.Tensor]], Any]


def block(
    examples: Examples,
    epochs: int,
    seed: int,
    *counters: int,
    key: Optional[int] = None,
    noise_multiplier: Optional[float] = None,
) -> list[collections.OrderedDict]:
    """A client's data of one round.

    Args:
      examples: The client's; at least one.
      epochs: How often the client goes over them, at most.
      seed: The experiment's seed.
      *counters: Which round, which client; with the seed they decide the order
        of examples in every epoch, and dropout.
      key: Of the client in this round, if not one that they decide.
      noise_multiplier: What `ExampleDp` wants of the client.

    Returns:
      A list of one element, as TFF wants sequences on clients: `x`, `y`
      [n, ...], `order` int32 [epochs, n], `key`, an int64 scalar, and if given
      `noise_multiplier`, a float32 scalar.
    """
    order = np.stack(
        [
            randomness.generator(seed, "shuffle", *counters, epoch).permutation(
                len(examples)
            )
            for epoch in range(epochs)
        ]
    )
    if key is None:
        draw = randomness.generator(seed, "client", *counters)
        key = int(draw.integers(2**62))
    made = collections.OrderedDict(
        x=examples.x,
        y=examples.y,
        order=order.astype(np.int32),
        key=np.int64(key),
    )
    if noise_multiplier is not None:
        made["noise_multiplier"] = np.float32(noise_multiplier)
    return [made]


def build(
    model_fn: ModelFn,
    optimizer: tff.learning.optimizers.Optimizer,
    options: ClientConfig,
    release: Optional[Release] = None,
    numbered: bool = False,
    gradients_fn: Optional[ExampleDp] = None,
) -> tff.learning.templates.ClientWorkProcess:
    """The client work of federated averaging on blocks.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      optimizer: Of the clients' steps.
      options: Batch size, weighting.
      release: What a client does to its update before it sends it.
      numbered: Whether in the place of a weight clients send their block's key,
        an int64 that no other client has.
      gradients_fn: Of a client's steps; by default the gradient of the mean
        loss of the next examples in order.

    Returns:
      A process whose clients' data are what `block` makes. A client whose
      update is not finite counts nothing, neither in the mean nor in the
      metrics, but as one of `dropped_clients` in the measurements.
    """
    with tf.Graph().as_default():
        model = model_fn()
        finalizers = model.metric_finalizers()
        x_spec, y_spec = model.input_spec
    aggregate_metrics = tff.learning.metrics.sum_then_finalize(finalizers)
    weights_type = tff.learning.models.weights_type_from_model(model)
    data_type = tff.SequenceType(
        tff.types.tensorflow_to_type(
            collections.OrderedDict(
                x=x_spec,
                y=y_spec,
                order=tf.TensorSpec([None, None], tf.int32),
                key=tf.TensorSpec([], tf.int64),
                **({} if gradients_fn is None else gradients_fn.block_spec),
            )
        )
    )

    @tff.tensorflow.computation(weights_type, data_type)
    def client_update(weights: Any, data: tf.data.Dataset) -> Any:
        model = _without_initial_values(model_fn)
        generators = keyed_generator.replace(model)

        @tf.function(autograph=False)
        def train(weights: Any, block: Any) -> Any:
            result, metrics, dropped = _train(
                model,
                generators,
                optimizer,
                options,
                weights,
                block,
                gradients_fn,
            )
            update, weight = result.update, result.update_weight
            if release is not None:
                update = release(update, block)
            if numbered:
                weight = block["key"]
            result = tff.learning.templates.ClientResult(update, weight)
            return result, metrics, dropped

        return train(weights, data.get_single_element())

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(weights_type, tff.CLIENTS),
        tff.FederatedType(data_type, tff.CLIENTS),
    )
    def next_fn(state: Any, weights: Any, data: Any) -> Any:
        result, metrics, dropped = tff.federated_map(
            client_update, (weights, data)
        )
        measurements = tff.federated_zip(
            collections.OrderedDict(
                train=aggregate_metrics(metrics),
                dropped_clients=tff.federated_sum(dropped),
            )
        )
        return tff.templates.MeasuredProcessOutput(state, result, measurements)

    return tff.learning.templates.ClientWorkProcess(initialize, next_fn)


def _without_initial_values(
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


def _train(
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
