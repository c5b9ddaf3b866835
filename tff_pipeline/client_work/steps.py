"""The training steps of one client: a loop over batches of its examples."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import keyed_generator, micro_batches
from tff_pipeline.client_work.block import epoch_orders
from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    GradientsFn,
    Message,
    Received,
    Step,
)
from tff_pipeline.config import ClientConfig
from tff_pipeline.optimizers import rates


class Trained(NamedTuple):
    """Result of a client's training.

    A client whose update is not finite is rejected.

    Attributes:
      message: The message that leaves the client; zeros if rejected.
      metrics: The model's metrics, not yet finalized; zeros if rejected.
      states: The states that the client keeps, by hook.
      rejected: 1 if the client is rejected, else 0; an int32 scalar.
      examples: The number of the client's examples, an int32 scalar.
    """

    message: Message
    metrics: Any
    states: Mapping[str, Any]
    rejected: tf.Tensor
    examples: tf.Tensor


class Trainer:
    """Trains clients one after the other, in the graph that it is built in."""

    def __init__(
        self,
        model: tff.learning.models.VariableModel,
        optimizer: tff.learning.optimizers.Optimizer,
        options: ClientConfig,
        hooks: Sequence[ClientHook],
    ):
        """Prepares the model.

        Args:
          model: The model; the steps change its variables.
          optimizer: The optimizer of the clients' steps.
          options: The options of clients: batch size, steps, weighting.
          hooks: The client hooks, in order.
        """
        self._model = model
        self._generators = keyed_generator.replace(model)
        self._optimizer = optimizer
        self._options = options
        self._hooks = hooks
        self._kept = {hook.name for hook in hooks if hook.keeps}

    def train(
        self,
        weights: tff.learning.models.ModelWeights,
        block: Mapping[str, tf.Tensor],
        server_values: Mapping[str, Any],
        states: Mapping[str, Any],
    ) -> Trained:
        """Takes all steps of one client.

        Args:
          weights: The weights that the server sent.
          block: The client's data, as `client_block` makes them.
          server_values: The values at the server, by hook.
          states: The states that the client kept, by hook.
        """
        for hook in self._hooks:
            block = hook.prepare(block)
        variables = tff.learning.models.ModelWeights.from_model(self._model)
        trainable = variables.trainable
        specs = tuple(tf.TensorSpec(v.shape, v.dtype) for v in trainable)
        before = dict(states)
        for hook in self._hooks:
            # A state that is not kept; a constant takes no room of its own.
            if not hook.keeps:
                before[hook.name] = tf.nest.map_structure(
                    tf.convert_to_tensor, hook.initial_state(specs)
                )
        assign(variables.non_trainable, weights.non_trainable)
        rate = self._options.optimizer.learning_rate * block["rate"]

        def received(hook: ClientHook) -> Received:
            value = server_values.get(hook.name, ())
            return Received(self._model, block, rate, value)

        start, begun = self._start(weights, before, received)
        assign(trainable, start)
        constants = {
            hook.name: hook.constants(
                start, begun.get(hook.name, ()), received(hook)
            )
            for hook in self._hooks
        }
        size, examples = self._options.batch_size, tf.shape(block["x"])[0]
        steps_an_epoch = (examples + size - 1) // size
        total = self._num_steps(block["steps"], steps_an_epoch)
        total += sum(h.more_epochs for h in self._hooks) * steps_an_epoch
        epochs = (total + steps_an_epoch - 1) // steps_an_epoch
        orders = epoch_orders(block["key"], epochs, examples)

        def batch_gradient(
            number: tf.Tensor,
            with_respect_to: Optional[Sequence[tf.Variable]] = None,
        ) -> Sequence[tf.Tensor]:
            # Whoever takes it twice in a step has the same dropout twice.
            for generator in self._generators:
                generator.begin(block["key"], number)
            order = orders[number // steps_an_epoch]
            start = number % steps_an_epoch * size
            places = order[start : start + size]
            x = tf.gather(block["x"], places)
            y = tf.gather(block["y"], places)
            return micro_batches.gradient(
                self._model,
                x,
                y,
                self._options.micro_batch_size,
                variables=with_respect_to,
            )

        def step(number: tf.Tensor, state: Any, kept: Any) -> Any:
            for generator in self._generators:
                generator.begin(block["key"], number)

            def seen_by(hook: ClientHook) -> Step:
                return Step(
                    **vars(received(hook)),
                    start=start,
                    constants=constants[hook.name],
                    number=number,
                    epoch=number // steps_an_epoch,
                    gradient_of=functools.partial(batch_gradient, number),
                )

            gradients, kept = self._gradients(
                lambda: batch_gradient(number), kept, seen_by
            )
            state, values = self._optimizer.next(
                state,
                tuple(v.read_value() for v in trainable),
                tuple(gradients),
            )
            for hook in self._hooks:
                values, own = hook.stepped(
                    values, kept.get(hook.name, ()), seen_by(hook)
                )
                if hook.name in kept:
                    kept[hook.name] = own
            assign(trainable, values)
            return number + 1, state, kept

        first = rates.with_rate(
            self._optimizer, self._optimizer.initialize(specs), rate
        )
        _, _, kept = tf.while_loop(
            lambda number, *_: number < total,
            step,
            (tf.constant(0), first, begun),
        )
        ends = [variable.read_value() for variable in trainable]
        update = tf.nest.pack_sequence_as(
            weights.trainable, list(map(tf.subtract, start, ends))
        )
        weight = tf.cast(examples, tf.float32)
        if self._options.weighting == "uniform":
            weight = tf.constant(1.0)
        return self._finish(
            Message(update, weight, {}),
            before,
            kept,
            lambda hook, finite: Finished(
                start,
                block,
                total,
                rate,
                server_values.get(hook.name, ()),
                finite,
                constants[hook.name],
            ),
            block,
        )

    def _start(
        self,
        weights: tff.learning.models.ModelWeights,
        states: Mapping[str, Any],
        received: Callable[[ClientHook], Received],
    ) -> tuple[list[tf.Tensor], dict[str, Any]]:
        """Lets the hooks change what the client starts from."""
        start, states = list(weights.trainable), dict(states)
        for hook in self._hooks:
            changed, state = hook.start(
                start, states.get(hook.name, ()), received(hook)
            )
            start = list(changed)
            if hook.name in states:
                states[hook.name] = state
        return start, states

    def _num_steps(
        self, steps: tf.Tensor, steps_an_epoch: tf.Tensor
    ) -> tf.Tensor:
        """Number of steps that a client takes: its block's, if above 0."""
        options = self._options
        for_all = options.epochs_per_round * steps_an_epoch
        if options.steps_per_round is not None:
            for_all = tf.constant(options.steps_per_round)
        return tf.where(steps > 0, steps, for_all)

    def _gradients(
        self,
        gradients_fn: GradientsFn,
        states: Mapping[str, Any],
        seen_by: Callable[[ClientHook], Step],
    ) -> tuple[Sequence[tf.Tensor], dict[str, Any]]:
        """Takes the gradient through all hooks, the first hook innermost."""
        states = dict(states)

        def changed(hook: ClientHook, inner: GradientsFn) -> GradientsFn:
            def gradients() -> Sequence[tf.Tensor]:
                result, state = hook.gradients(
                    inner, states.get(hook.name, ()), seen_by(hook)
                )
                if hook.name in states:
                    states[hook.name] = state
                return result

            return gradients

        for hook in self._hooks:
            gradients_fn = changed(hook, gradients_fn)
        return gradients_fn(), states

    def _finish(
        self,
        message: Message,
        before: dict[str, Any],
        after: dict[str, Any],
        finished: Callable[[ClientHook, tf.Tensor], Finished],
        block: Mapping[str, tf.Tensor],
    ) -> Trained:
        """Lets the hooks change the message; rejects one that is not finite."""
        finite = all_finite(tf.nest.flatten(message.update))
        message = _if(finite, message)
        for hook in self._hooks:
            extras = message.extras
            message, state = hook.message(
                message, after.get(hook.name, ()), finished(hook, finite)
            )
            if hook.name in after:
                after[hook.name] = state
                finite &= all_finite(tf.nest.flatten(state))
            if message.extras.keys() != extras.keys():
                finite &= all_finite(tf.nest.flatten(message.extras))
                message = _if(finite, message)
        return Trained(
            message,
            _if(finite, self._model.report_local_unfinalized_metrics()),
            {
                name: _if(finite, state, before[name])
                for name, state in after.items()
                if name in self._kept
            },
            1 - tf.cast(finite, tf.int32),
            # Canaries, whose keys are negative, train on no data of theirs.
            tf.where(block["key"] < 0, 0, tf.shape(block["x"])[0]),
        )


def assign(
    variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]
) -> None:
    """Gives each variable its value.

    Args:
      variables: The variables.
      values: As many tensors of their shapes and dtypes.
    """
    for variable, value in zip(variables, values):
        variable.assign(value)


def _if(condition: tf.Tensor, values: Any, otherwise: Any = None) -> Any:
    """Returns the values if the condition holds, else `otherwise` or zeros."""

    def others() -> Any:
        if otherwise is not None:
            return otherwise
        return tf.nest.map_structure(tf.zeros_like, values)

    # Not tf.where, which would copy the values.
    return tf.cond(condition, lambda: values, others)


def all_finite(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns whether all numbers are finite, a bool scalar.

    Args:
      values: Tensors of any dtypes.
    """
    values = [value for value in values if value.dtype.is_floating]
    if not values:
        return tf.constant(True)
    # A finite sum proves it in one pass; but a sum of finite numbers may
    # overflow, so otherwise each number is checked.
    total = tf.add_n([tf.cast(tf.reduce_sum(v), tf.float32) for v in values])
    return tf.cond(
        tf.math.is_finite(total),
        lambda: tf.constant(True),
        lambda: tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(value)) for value in values]
        ),
    )
