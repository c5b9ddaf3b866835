"""Client hooks: what else a client does beside plain steps, in order.

A hook may change the gradient of every step, has a say in the message that
leaves the client, may keep a state on its client from one of the client's
rounds to the next, and may have values at the server that travel to clients
with the model. Differential privacy of examples, local noise and canaries are
hooks; so are control variates and memories of compressors.

Hooks are an ordered list. Each sees the message as those before it left it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

# Makes the gradient of a step, a tensor for each trainable variable.
GradientsFn = Callable[[], Sequence[tf.Tensor]]


class Message(NamedTuple):
    """What leaves a client; an aggregator clips and masks all parts as one.

    Attributes:
      update: The model delta: start weights minus end weights, the structure
        of the trainable weights.
      weight: What the client counts for in a mean, a scalar.
      extras: What hooks add, by the hooks' names; tensors or structures.
    """

    update: Any
    weight: tf.Tensor
    extras: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Step:
    """Where in a client's work a gradient is taken.

    Attributes:
      model: The model at the step's weights.
      start: The trainable weights before the first step, tensors.
      block: The client's data, as `client_block` makes them.
      number: Which of the round's steps, an int32 scalar from 0.
      server_value: The hook's value at the server, as it travelled.
    """

    model: tff.learning.models.VariableModel
    start: Sequence[tf.Tensor]
    block: Mapping[str, tf.Tensor]
    number: tf.Tensor
    server_value: Any


@dataclasses.dataclass(frozen=True)
class Finished:
    """A client after its last step.

    Attributes:
      start: The trainable weights before the first step, tensors.
      block: The client's data, as `client_block` makes them.
      num_steps: How many steps it took, an int32 scalar.
      learning_rate: The rate of its optimizer in this round, a float32 scalar.
      server_value: The hook's value at the server, as it travelled.
    """

    start: Sequence[tf.Tensor]
    block: Mapping[str, tf.Tensor]
    num_steps: tf.Tensor
    learning_rate: tf.Tensor
    server_value: Any


class ClientHook:
    """Does nothing; hooks override what they need.

    A hook's state passes `gradients` in every step, then `message`, and is
    kept on the client until its next round.

    Attributes:
      name: Names the hook's kept state, server value and extras; two hooks of
        one client have different names.
      block_spec: What the hook needs in a client's block beside the rest, by
        name.
    """

    name: str = "hook"
    block_spec: Mapping[str, tf.TensorSpec] = {}

    def describe(self) -> str:
        """Says in half a sentence what the hook does to what leaves a client.

        It is printed at the start; empty where the hook changes nothing that
        leaves a client.
        """
        return ""

    def prepare(
        self, block: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Changes a client's data before its first step.

        Args:
          block: The client's data, as `client_block` makes them.

        Returns:
          A block of the same parts, shapes and dtypes.
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
        self, weights: Sequence[tf.Tensor], state: Any
    ) -> Sequence[tf.Tensor]:
        """Says where the client starts from.

        Args:
          weights: The trainable weights that the client received.
          state: What the hook kept on this client.

        Returns:
          The weights before the first step; shapes and dtypes as before.
        """
        del state
        return weights

    def gradients(
        self, gradients_fn: GradientsFn, state: Any, step: Step
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Takes the gradient of one step.

        Args:
          gradients_fn: Takes the gradient as it would be without this hook;
            a hook that replaces it need not call it.
          state: The hook's state on this client.
          step: Where in the client's work this is.

        Returns:
          (the gradient, the state after it); shapes and dtypes as before.
        """
        del step
        return gradients_fn(), state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Has its say in what leaves the client.

        Args:
          message: As the hooks before this one left it.
          state: The hook's state after the last step.
          client: The client after its last step.

        Returns:
          (the message, the state that the client keeps). A client whose update
          is not finite sends nothing and keeps its old state.
        """
        del client
        return message, state

    def next_server_value(self, value: Any, extra: Any) -> Any:
        """Updates the value at the server after a round.

        Args:
          value: The value that travelled to the clients.
          extra: What the aggregator made of this hook's extras; `()` if it
            added none.

        Returns:
          The value for the next round, tensors like `value`.
        """
        del extra
        return value


class NumberedClients(ClientHook):
    """Sends the block's key, which no other client has, in place of a weight.

    For sums under secure aggregation, where every client has noise of its own.
    """

    name = "number"

    def describe(self) -> str:
        """Says that the weight is a number of the client's own."""
        return "a number of the client's own in place of a weight"

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the weight by the int64 key of the block."""
        return message._replace(weight=client.block["key"]), state
