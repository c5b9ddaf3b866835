"""The way of the model from the server to the clients of a round."""

import collections
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work.held_model import HeldModel, ModelCode
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import ClientUpdate, num_bytes, type_of


class Distribution(NamedTuple):
    """The way of the model to clients.

    Attributes:
      initialize: Makes the distributor's state.
      next: Takes, inside a federated computation, the server's state and the
        clients' kept states; returns (the weights at the clients, the counts
        `received` and `received_bytes` at the clients or `None`, the
        distributor's next state).
    """

    initialize: Any
    next: Callable[[Any, Any], tuple[Any, Any, Any]]


def distributing(
    update: ClientUpdate,
    hooks: Sequence[ClientHook],
    model_code: Optional[ModelCode],
) -> Distribution:
    """Chooses the way of the model.

    Args:
      update: The computation of a client's round.
      hooks: The hooks that `update` was built with. One whose value travels
        within the model makes the bytes of both.
      model_code: Makes bytes of the model for clients that hold the one sent
        before, of whose hooks one is `HeldModel`; by default it travels whole.
    """
    for hook in hooks:
        if not hook.value_travels:
            assert model_code is None  # `config` sees to it.
            return _with_value(update, hook)
    if model_code is not None:
        return _held(update, model_code)
    return Distribution(
        tff.tensorflow.computation(lambda: ()),
        lambda state, kept: (
            tff.federated_broadcast(state.global_model_weights),
            None,
            state.distributor,
        ),
    )


def _with_value(update: ClientUpdate, hook: ClientHook) -> Distribution:
    """Sends the model in bytes that hold the value of a hook too."""
    value_type = type_of(update.initial_server_values[hook.name])
    rest = num_bytes(update.received_type) - num_bytes(
        update.weights_type.trainable
    )

    @tff.tensorflow.computation(update.weights_type, value_type)
    def send(weights: Any, value: Any) -> Any:
        sent, size = hook.sent_model(weights.trainable, value)
        counts = collections.OrderedDict(
            received=tf.constant(1), received_bytes=rest + size
        )
        weights = tff.learning.models.ModelWeights(sent, weights.non_trainable)
        return weights, counts

    def next_fn(state: Any, kept: Any) -> tuple[Any, Any, Any]:
        del kept
        weights, counts = tff.federated_map(
            send, (state.global_model_weights, state.client_work[hook.name])
        )
        return (
            tff.federated_broadcast(weights),
            tff.federated_broadcast(counts),
            state.distributor,
        )

    return Distribution(tff.tensorflow.computation(lambda: ()), next_fn)


def _held(update: ClientUpdate, model_code: ModelCode) -> Distribution:
    """Sends bytes of the model to clients that hold the one before."""
    specs = [
        tf.TensorSpec(kind.shape, kind.dtype)
        for kind in tff.structure.flatten(update.weights_type.trainable)
    ]
    initial = model_code.initial_state(specs)
    whole = num_bytes(update.received_type)
    without_code = whole - num_bytes(update.weights_type.trainable)

    @tff.tensorflow.computation
    def initialize() -> Any:
        return initial

    @tff.tensorflow.computation(update.weights_type, type_of(initial), np.int32)
    def send(weights: Any, state: Any, number: tf.Tensor) -> Any:
        sent, size, after = model_code.send(weights.trainable, state, number)
        weights = tff.learning.models.ModelWeights(sent, weights.non_trainable)
        return weights, size, after

    @tff.tensorflow.computation(np.int32, np.int32, np.int64)
    def count(held: tf.Tensor, number: tf.Tensor, size: tf.Tensor) -> Any:
        # The first model has no one before it.
        holds = tf.equal(held, number - 1) & (size >= 0)
        return collections.OrderedDict(
            received=tf.constant(1),
            received_bytes=tf.where(holds, without_code + size, whole),
        )

    def next_fn(state: Any, kept: Any) -> tuple[Any, Any, Any]:
        number = state.client_work[HeldModel.name]
        weights, size, after = tff.federated_map(
            send, (state.global_model_weights, state.distributor, number)
        )
        received = tff.federated_map(
            count,
            (
                kept[HeldModel.name],
                tff.federated_broadcast(number),
                tff.federated_broadcast(size),
            ),
        )
        return tff.federated_broadcast(weights), received, after

    return Distribution(initialize, next_fn)
