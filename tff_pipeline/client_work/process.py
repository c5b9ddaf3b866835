"""What a client does in a round, in one piece: a block of data, one loop.

`tff.learning` feeds a client's steps from a dataset of batches, whose iterator
costs more than a small step. Here a client's data are a block of arrays, read
once, with the order of every epoch beside them, and its steps are one
`tf.while_loop` over slices of that order. A last, smaller batch is a smaller
slice: nothing is padded or masked, and one compiled shape serves all clients.

The result is an ordinary `tff.learning.templates.ClientWorkProcess`.
"""

import collections
from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import keyed_generator, steps
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.config import ClientConfig

# What leaves a client, from its update and its block.
Release = Callable[[Any, Mapping[str, tf.Tensor]], Any]


def build_client_work(
    model_fn: steps.ModelFn,
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
      A process whose clients' data are what `client_block` makes. A client
      whose update is not finite counts nothing, neither in the mean nor in
      the metrics, but as one of `dropped_clients` in the measurements.
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
        model = steps.without_initial_values(model_fn)
        generators = keyed_generator.replace(model)

        @tf.function(autograph=False)
        def train(weights: Any, block: Any) -> Any:
            result, metrics, dropped = steps.train(
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
