"""The computation of a client's round, as one TFF computation.

`tff.learning` feeds a client's steps from a dataset of batches, whose iterator
costs more than a small step. Here a client's data are a block of arrays, read
once, and its steps are one `tf.while_loop` over slices of a random order of the
examples, drawn for every epoch. A smaller last batch is a smaller slice, so
nothing is padded or masked, and one graph serves clients of all sizes.
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import empty_model, steps
from tff_pipeline.client_work.block import BLOCK_SPEC
from tff_pipeline.client_work.hooks import ClientHook, Message
from tff_pipeline.config import ClientConfig


@dataclasses.dataclass(frozen=True)
class ClientUpdate:
    """A client's computation, with the types of its arguments and results.

    Attributes:
      computation: A TFF computation from a structure with `weights`, `data`
        and, unless they are empty, `server_values` and `states`, to a
        structure (result, metrics, counts, states).
      weights_type: The type of the model's weights, which clients receive.
      data_type: The type of a client's data: a sequence of the one block that
        `client_block` makes.
      initial_states: The kept states of a client that never took part, by
        hook, NumPy arrays; hooks that keep nothing are left out.
      initial_server_values: The values at the server before the first round,
        by hook, NumPy arrays; hooks without one are left out.
      metric_finalizers: The finalizers of the model's metrics, by metric.
      decode: A TFF computation from the bytes that leave a client, uint8 [n],
        to a `ClientResult`; `None` if tensors leave it.
      decodes_with: The name of the hook whose value at the server `decode`
        takes as a second argument; `None` if the bytes suffice.
      payload_bytes: The usual number of these bytes; `None` without `decode`.
      in_model: The names of hooks whose values at the server reach clients
        within the bytes of the model.
    """

    computation: tff.Computation
    weights_type: tff.Type
    data_type: tff.Type
    initial_states: Mapping[str, Any]
    initial_server_values: Mapping[str, Any]
    metric_finalizers: Mapping[str, Callable[..., Any]]
    decode: Optional[tff.Computation] = None
    decodes_with: Optional[str] = None
    payload_bytes: Optional[int] = None
    in_model: Sequence[str] = ()

    @property
    def result_type(self) -> tff.Type:
        """Type of what the server has of a client, a `ClientResult`.

        Its `update` is the model delta alone, or a structure of `update`, the
        model delta, and the hooks' extras by their names.
        """
        if self.decode is not None:
            return self.decode.type_signature.result
        return self.computation.type_signature.result[0]

    @property
    def bytes_up(self) -> int:
        """The bytes that leave a client, of a payload the usual number."""
        return self.payload_bytes or num_bytes(self.result_type)

    @property
    def received_type(self) -> tff.Type:
        """Type of what travels to a client: weights and hooks' values."""
        values = {
            name: value
            for name, value in self.initial_server_values.items()
            if name not in self.in_model
        }
        return tff.to_type([self.weights_type, type_of(values)])

    @property
    def extended(self) -> bool:
        """True if the update is a structure of the model delta and extras."""
        return not self.weights_type.trainable.is_equivalent_to(
            self.result_type.update
        )

    @property
    def is_plain(self) -> bool:
        """True if TFF's own templates have a place for all parts."""
        return not (
            self.initial_states
            or self.initial_server_values
            or self.extended
            or self.decode
        )


def build_client_update(
    model_fn: empty_model.ModelFn,
    optimizer: tff.learning.optimizers.Optimizer,
    options: ClientConfig,
    hooks: Sequence[ClientHook] = (),
) -> ClientUpdate:
    """Builds the computation of a client's round.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      optimizer: The optimizer of the clients' steps.
      options: The options of clients: batch size, steps, weighting.
      hooks: The client hooks, in order.

    Raises:
      ValueError: If two hooks have the same name, or one that encodes is not
        the last.
    """
    names = [hook.name for hook in hooks]
    if len(set(names)) < len(names):
        raise ValueError(f"Two client hooks have one name: {names}.")
    if any(hook.encodes for hook in hooks[:-1]):
        raise ValueError(f"A hook that encodes is not the last of {names}.")
    encoder = hooks[-1] if hooks and hooks[-1].encodes else None
    with tf.Graph().as_default():
        model = model_fn()
        finalizers = model.metric_finalizers()
        x_spec, y_spec = model.input_spec
    weights_type = tff.learning.models.weights_type_from_model(model)
    specs = [
        tf.TensorSpec(kind.shape, kind.dtype)
        for kind in tff.structure.flatten(weights_type.trainable)
    ]
    block_spec = collections.OrderedDict(
        x=x_spec,
        y=y_spec,
        **BLOCK_SPEC,
    )
    for hook in hooks:
        block_spec.update(hook.block_spec)
    data_type = tff.SequenceType(tff.types.tensorflow_to_type(block_spec))
    states = _kept(
        {hook.name: hook.initial_state(specs) for hook in hooks if hook.keeps}
    )
    values = _kept(
        {hook.name: hook.initial_server_value(specs) for hook in hooks}
    )
    argument_type = collections.OrderedDict(
        weights=weights_type, data=data_type
    )
    if values:
        argument_type["server_values"] = type_of(values)
    if states:
        argument_type["states"] = type_of(states)

    @tff.tensorflow.computation(tff.to_type(argument_type))
    def client_update(argument: Any) -> Any:
        trainer = steps.Trainer(
            empty_model.without_initial_values(model_fn),
            optimizer,
            options,
            hooks,
        )

        @tf.function(autograph=False)
        def train(weights: Any, block: Any, values: Any, states: Any) -> Any:
            trained = trainer.train(weights, block, values, states)
            counts = collections.OrderedDict(
                rejected_clients=trained.rejected, examples=trained.examples
            )
            result = trained.message.update
            if encoder is None:
                result = tff.learning.templates.ClientResult(
                    _sent(trained.message), trained.message.weight
                )
            else:
                counts["payloads"] = tf.constant(1)
                counts["payload_bytes"] = tf.size(result, tf.int64)
            return result, trained.metrics, counts, trained.states

        return train(
            argument["weights"],
            argument["data"].get_single_element(),
            argument["server_values"] if values else {},
            argument["states"] if states else {},
        )

    update = ClientUpdate(
        client_update,
        weights_type,
        data_type,
        states,
        values,
        finalizers,
        in_model=[hook.name for hook in hooks if not hook.value_travels],
    )
    if encoder is None:
        return update
    with_value = encoder.name in values
    payload_type = tff.TensorType(np.uint8, [None])

    def result_of(payload: tf.Tensor, value: Any) -> Any:
        message = encoder.decoded(payload, specs, value)
        return tff.learning.templates.ClientResult(
            list(message.update), message.weight
        )

    if with_value:
        decode = tff.tensorflow.computation(
            lambda payload, value: result_of(payload, value),
            [payload_type, type_of(values[encoder.name])],
        )
    else:
        decode = tff.tensorflow.computation(
            lambda payload: result_of(payload, ()), payload_type
        )
    return dataclasses.replace(
        update,
        decode=decode,
        decodes_with=encoder.name if with_value else None,
        payload_bytes=encoder.trial_bytes(specs),
    )


def type_of(arrays: Any) -> tff.Type:
    """Returns the TFF type of a nested structure of NumPy arrays.

    Args:
      arrays: The structure; only shapes and dtypes matter.
    """
    return tff.types.tensorflow_to_type(
        tf.nest.map_structure(
            lambda array: tf.TensorSpec(np.shape(array), array.dtype), arrays
        )
    )


def num_bytes(kind: tff.Type) -> int:
    """Returns the size in bytes of a value of a type.

    Args:
      kind: A type of tensors whose shapes are all known.
    """
    return sum(
        int(np.prod(leaf.shape, dtype=np.int64)) * np.dtype(leaf.dtype).itemsize
        for leaf in tff.structure.flatten(kind)
    )


def _kept(by_name: Mapping[str, Any]) -> Mapping[str, Any]:
    """Selects the structures that are not empty, as arrays, sorted by name."""
    return collections.OrderedDict(
        (name, tf.nest.map_structure(np.asarray, value))
        for name, value in sorted(by_name.items())
        if tf.nest.flatten(value)
    )


def _sent(message: Message) -> Any:
    """Returns all parts of a message but its weight, as one structure."""
    if not message.extras:
        return message.update
    return collections.OrderedDict(
        [("update", message.update), *sorted(message.extras.items())]
    )
