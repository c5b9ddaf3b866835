"""Client hooks: what a client does in addition to plain training steps.

A hook may change the client's data, its start, the gradient of every step and
the message that leaves the client. It may keep a state on its client from one
of the client's rounds to the next, and may have a value at the server that
travels to clients with the model. Differential privacy of examples, local noise
and canaries are hooks; so are control variates and memories of compressors.

The hooks of a client are an ordered list: each receives the message as the one
before it left it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

# Takes the gradient of a step, a tensor for each trainable variable.
GradientsFn = Callable[[], Sequence[tf.Tensor]]


class Message(NamedTuple):
    """Everything that leaves a client; an aggregator clips and masks it as one.

    Attributes:
      update: The model delta, start weights minus end weights, in the
        structure of the trainable weights.
      weight: The weight of the client in a mean, a scalar.
      extras: The tensors, or structures of tensors, that hooks add, by the
        hooks' names.
    """

    update: Any
    weight: tf.Tensor
    extras: Mapping[str, Any]


class CohortMean(NamedTuple):
    """Result of aggregating a cohort's messages, as hooks at the server see it.

    Attributes:
      update: The mean model delta, in the structure of the trainable weights,
        as the hooks before left it.
      extra: The aggregate of what the hook added to the messages' extras; `()`
        if it added nothing.
      weight: The sum of the weights of the clients that count in the mean, a
        float32 scalar; 0 unless the hook `needs_cohort_weight`.
    """

    update: Any
    extra: Any
    weight: tf.Tensor


# Takes the gradient of a step's batch with respect to the given variables.
GradientOf = Callable[[Sequence[tf.Variable]], Sequence[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Received:
    """A client before its first step, as hooks see it.

    Attributes:
      model: The model; its weights are set after the hooks' `start`.
      block: The client's data, as `client_block` makes them.
      learning_rate: The learning rate of the client's optimizer in this round,
        a float32 scalar.
      server_value: The hook's value at the server, as it travelled.
    """

    model: tff.learning.models.VariableModel
    block: Mapping[str, tf.Tensor]
    learning_rate: tf.Tensor
    server_value: Any

    def rate(self, own: Optional[float]) -> tf.Tensor:
        """Returns a learning rate of the hook's own, with the round's factor.

        Args:
          own: The rate before the schedule's factor; `None` for the rate of
            the client's optimizer.
        """
        if own is None:
            return self.learning_rate
        return own * self.block["rate"]


@dataclasses.dataclass(frozen=True)
class Step(Received):
    """A training step of a client, as hooks see it; its model has its weights.

    Attributes:
      start: The trainable weights before the first step, tensors.
      constants: What the hook's `constants` computed.
      number: The number of the step in the round from 0, an int32 scalar.
      epoch: The number of the epoch that it is of from 0, an int32 scalar.
      gradient_of: Takes the gradient of the step's batch with respect to
        variables of the model, those that do not travel too.
    """

    start: Sequence[tf.Tensor]
    constants: Any
    number: tf.Tensor
    epoch: tf.Tensor
    gradient_of: GradientOf


@dataclasses.dataclass(frozen=True)
class Finished:
    """A client after its last step, as hooks see it.

    Attributes:
      start: The trainable weights before the first step, tensors.
      block: The client's data, as `client_block` makes them.
      num_steps: The number of steps that it took, an int32 scalar.
      learning_rate: The learning rate of its optimizer in this round, a
        float32 scalar.
      server_value: The hook's value at the server, as it travelled.
      constants: What the hook's `constants` computed.
      accepted: False if the update or a state is not finite, so that the client
        is rejected and its message says zeros; a bool scalar.
    """

    start: Sequence[tf.Tensor]
    block: Mapping[str, tf.Tensor]
    num_steps: tf.Tensor
    learning_rate: tf.Tensor
    server_value: Any
    accepted: tf.Tensor
    constants: Any = ()


class ClientHook:
    """Base class of client hooks; does nothing, hooks override what they need.

    A hook's state passes `start`, `gradients` and `stepped` in every step, then
    `message`, and is kept on the client until its next round.

    Attributes:
      name: The name of the hook's kept state, server value and extras; no two
        hooks of a client have the same name.
      block_spec: The additional tensors that the hook needs in a client's
        block, by name.
      keeps: True if the hook's state stays on the client after the round; else
        it begins anew in every round.
      more_epochs: The epochs that clients train in addition, for steps that
        change only what does not travel.
      needs_cohort_weight: True if the hook's `at_server` uses the sum of the
        weights of the clients that came, which the server then learns.
      encodes: True if the hook makes bytes of the message, which `decoded`
        undoes; it must then be the last of its client's.
      value_travels: False if the value at the server reaches clients within
        the bytes of the model, which `sent_model` makes.
      changes_model: True if the hook's `model_at_server` changes the model.
      puts_back: True if the hook's `put_back` changes what a client keeps whose
        message was sent in vain.
      columns: The columns of metrics.csv that `figures` adds.
    """

    name: str = "hook"
    keeps: bool = True
    more_epochs: int = 0
    needs_cohort_weight: bool = False
    encodes: bool = False
    value_travels: bool = True
    changes_model: bool = False
    puts_back: bool = False
    columns: Sequence[str] = ()
    block_spec: Mapping[str, tf.TensorSpec] = {}

    def describe(self) -> str:
        """Describes, in part of a sentence, how the hook changes the message.

        The description is printed at the start of a run; it is empty if the
        hook does not change what leaves a client.
        """
        return ""

    def prepare(
        self, block: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Changes a client's data before its first step.

        Args:
          block: The client's data, as `client_block` makes them.

        Returns:
          A block with the same names, shapes and dtypes.
        """
        return block

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the state of a client that never took part.

        Args:
          specs: Of the trainable weights.

        Returns:
          A nested structure of NumPy arrays, alike for all clients; `()` where
          the hook keeps nothing.
        """
        del specs
        return ()

    def initial_server_value(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Makes the value at the server before the first round.

        Args:
          specs: Of the trainable weights.

        Returns:
          A nested structure of NumPy arrays, which travels to every client of
          a round; `()` where there is none.
        """
        del specs
        return ()

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Changes the weights that the client starts from.

        Args:
          weights: The trainable weights that the client received, as the
            hooks before this one left them.
          state: The hook's state on this client.
          client: The client before its first step.

        Returns:
          (the trainable weights before the first step, the state), with the
          shapes and dtypes of those before.
        """
        del client
        return weights, state

    def constants(
        self, start: Sequence[tf.Tensor], state: Any, client: Received
    ) -> Any:
        """Computes what is the same in all steps, once for a client's round.

        A step of a small model is so short that each pass over its weights
        counts.

        Args:
          start: The trainable weights before the first step, which the model
            has.
          state: The hook's state after `start`.
          client: The client before its first step.

        Returns:
          A nested structure of tensors, for `gradients`, `stepped` and
          `message`; `()` where there is nothing.
        """
        del start, state, client
        return ()

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes the gradient of one step.

        Args:
          gradients_fn: Takes the gradient as the hooks before this one left
            it; a hook that replaces the gradient need not call it.
          state: The hook's state on this client.
          step: The model, the client's data and the step's number.

        Returns:
          (the gradient, the state after it), with the shapes and dtypes of
          those before.
        """
        del step
        return gradients_fn(), state

    def stepped(
        self, weights: Sequence[tf.Tensor], state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Changes where a step leads, outside of the optimizer's momentum.

        Args:
          weights: The trainable weights after the optimizer's step, as the
            hooks before this one left them.
          state: The hook's state on this client.
          step: The step; its model has the weights before it.

        Returns:
          (the trainable weights of the next step, the state), with the shapes
          and dtypes of those before.
        """
        del step
        return weights, state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Changes what leaves the client.

        Args:
          message: The message as the hooks before this one left it.
          state: The hook's state after the last step.
          client: The client after its last step.

        Returns:
          (the message, the state that the client keeps). An update that is not
          finite is replaced by zeros, and its client keeps its old state.
        """
        del client
        return message, state

    def put_back(self, before: Any, after: Any, update: Any) -> Any:
        """Makes what a client keeps after a message that did not count.

        It came too late, or its round was lost. It is called only if the hook
        `puts_back`; a client keeps what it had before of all other hooks.

        Args:
          before: What the client kept before the round.
          after: What it would keep, had the message counted.
          update: The model delta of the message as the server had it, a list of
            tensors.

        Returns:
          What it keeps, like `before`.
        """
        del after, update
        return before

    def decoded(
        self,
        payload: tf.Tensor,
        specs: Sequence[tf.TensorSpec],
        server_value: Any = (),
    ) -> Message:
        """Makes the message of the bytes that the hook sent in its place.

        It is called only if the hook `encodes`.

        Args:
          payload: What the hook put in the place of the update, uint8 [n].
          specs: Of the trainable weights.
          server_value: The hook's value at the server, as it travelled.

        Returns:
          The message, whose update is a list of tensors like `specs`.
        """
        raise NotImplementedError

    def trial_bytes(self, specs: Sequence[tf.TensorSpec]) -> int:
        """Measures a payload of a usual length, before there are any.

        It is called only if the hook `encodes`.

        Args:
          specs: Of the trainable weights.
        """
        raise NotImplementedError

    def sent_model(
        self, weights: Sequence[tf.Tensor], value: Any
    ) -> tuple[Sequence[tf.Tensor], tf.Tensor]:
        """Makes the weights that clients begin with, and counts their bytes.

        It is called only if the hook's value does not travel by itself.

        Args:
          weights: The trainable weights of the server's model.
          value: The hook's value at the server.

        Returns:
          (the trainable weights that reach clients; the number of bytes in
          which they and the value do, an int64 scalar).
        """
        raise NotImplementedError

    def at_server(self, value: Any, mean: CohortMean) -> tuple[Any, Any]:
        """Changes the mean model delta and the value at the server.

        Args:
          value: The value that travelled to the clients.
          mean: What came of the clients' messages.

        Returns:
          (the model delta that the server's optimizer takes, the value for the
          next round), with the structures, shapes and dtypes of those before.
        """
        return mean.update, value

    def model_at_server(
        self, value: Any, weights: Sequence[tf.Tensor]
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Changes the model after the server's step, and the hook's value.

        It is called only if the hook `changes_model`, and not after a mean
        that the server refused, since it is not finite.

        Args:
          value: The value as `at_server` left it.
          weights: The trainable weights after the step of the server's
            optimizer.

        Returns:
          (the trainable weights, the value for the next round), with the
          structures, shapes and dtypes of those before.
        """
        return weights, value

    def figures(self, value: Any) -> Mapping[str, Union[int, float]]:
        """Measures the hook's value at the server after a round.

        Args:
          value: The value, NumPy arrays or tensors.

        Returns:
          The values by column of metrics.csv, of those in `columns`.
        """
        del value
        return {}


def zeros(specs: Sequence[tf.TensorSpec]) -> list[Any]:
    """Makes an array of zeros for each trainable weight.

    Args:
      specs: Of the trainable weights.
    """
    return [np.zeros(s.shape, s.dtype.as_numpy_dtype) for s in specs]


class NumberedClients(ClientHook):
    """Sends the block's key, different for each client, in place of a weight.

    Secure sums need it, in which every client adds noise of its own.
    """

    name = "number"

    def describe(self) -> str:
        """Describes the number that replaces the weight."""
        return "a number of the client's own in place of a weight"

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the weight by the key of the block.

        Args:
          message: The message as the hooks before this one left it.
          state: The hook's state, which is `()`.
          client: The client after its last step.

        Returns:
          (the message with an int64 scalar as weight, the state as it was).
        """
        return message._replace(weight=client.block["key"]), state
