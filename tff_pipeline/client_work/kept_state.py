"""Learning processes whose clients keep a state between their rounds.

The `next` of a `tff.learning.templates.LearningProcess` takes the server's
state and clients' data, and has no place for states of clients. The `next` of a
`KeptStateProcess` takes the kept states of the cohort's clients as a third
argument, and returns the new ones.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import fixed_point, process, tagged
from tff_pipeline.client_work.distribution import distributing
from tff_pipeline.client_work.held_model import ModelCode
from tff_pipeline.client_work.hooks import ClientHook, CohortMean
from tff_pipeline.client_work.update import ClientUpdate, type_of


class KeptStateOutput(NamedTuple):
    """Result of a round of a `KeptStateProcess`.

    Attributes:
      state: The server's state after the round.
      metrics: The measurements of the round, by part of the process.
      kept_states: The new kept state of each client, in the cohort's order; a
        client whose update is not finite gets its old state back.
    """

    state: Any
    metrics: Any
    kept_states: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class KeptStateProcess:
    """Learning process whose clients keep a state between their rounds.

    Attributes:
      initialize: Makes the server's state before the first round.
      next: Runs a round; takes the server's state, the clients' data and
        their kept states, the last two as lists in the same order.
      initial_kept_state: The kept state of a client that never took part, a
        nested structure of NumPy arrays.
      get_model_weights: Returns the model's weights in a server's state.
      set_model_weights: Takes a server's state and weights, and returns the
        state with these weights.
      put_back: Computes what clients keep whose messages did not count, from
        what `next` takes; `None` if it is what they kept before.
    """

    initialize: Callable[[], Any]
    next: Callable[[Any, Sequence[Any], Sequence[Any]], KeptStateOutput]
    initial_kept_state: Any
    get_model_weights: Callable[[Any], tff.learning.models.ModelWeights]
    set_model_weights: Callable[[Any, tff.learning.models.ModelWeights], Any]
    put_back: Optional[Callable[[Any, Sequence[Any], Sequence[Any]], Any]] = (
        None
    )


def compose(
    initial_weights: tff.Computation,
    update: ClientUpdate,
    hooks: Sequence[ClientHook],
    aggregator: tff.templates.AggregationProcess,
    finalizer: tff.learning.templates.FinalizerProcess,
    model_code: Optional[ModelCode] = None,
    secure: bool = False,
) -> KeptStateProcess:
    """Composes a process of clients that keep states or receive values.

    The server's state is a `tff.learning.templates.LearningAlgorithmState`
    whose `client_work` holds the hooks' values at the server, by name.

    Args:
      initial_weights: Makes the model's first weights.
      update: The computation of a client's round.
      hooks: The hooks that `update` was built with.
      aggregator: A weighted process that aggregates clients' messages.
      finalizer: Updates the model's weights by the mean model delta.
      model_code: Makes bytes of the model for clients that hold the one sent
        before, of whose hooks one is `HeldModel`; by default it travels whole.
      secure: Whether metrics, counts and the cohort's weight are taken by
        secure sums.
    """
    values = update.initial_server_values
    values_type = type_of(values)
    client_type = collections.OrderedDict(
        weights=update.weights_type, data=update.data_type
    )
    kept_type = type_of(update.initial_states)

    @tff.tensorflow.computation
    def first_values() -> Any:
        return values

    distribution = distributing(update, hooks, model_code)

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_zip(
            tff.learning.templates.LearningAlgorithmState(
                tff.federated_eval(initial_weights, tff.SERVER),
                tff.federated_eval(distribution.initialize, tff.SERVER),
                tff.federated_eval(first_values, tff.SERVER),
                aggregator.initialize(),
                finalizer.initialize(),
            )
        )

    mean_type = aggregator.next.type_signature.result.result.member
    extended = update.extended
    on_model = _on_model(
        update,
        [hook for hook in hooks if hook.changes_model],
        finalizer.next.type_signature.result.measurements.member,
    )
    weighed = any(hook.needs_cohort_weight for hook in hooks)

    @tff.tensorflow.computation(values_type, mean_type, tf.float32)
    def at_server(values: Any, mean: Any, weight: tf.Tensor) -> Any:
        extras = dict(mean) if extended else {}
        delta = mean["update"] if extended else mean
        after = collections.OrderedDict(values)
        for hook in hooks:
            delta, value = hook.at_server(
                after.get(hook.name, ()),
                CohortMean(delta, extras.get(hook.name, ()), weight),
            )
            if hook.name in after:
                after[hook.name] = value
        return delta, after

    types = (
        initialize.type_signature.result,
        tff.FederatedType(client_type["data"], tff.CLIENTS),
        tff.FederatedType(kept_type, tff.CLIENTS),
    )

    def trained(state: Any, data: Any, kept: Any, at_clients: Any) -> Any:
        """Lets clients train, and decodes what they send."""
        argument = collections.OrderedDict(weights=at_clients, data=data)
        if values:
            argument["server_values"] = tff.federated_broadcast(
                state.client_work
            )
        if update.initial_states:
            argument["states"] = kept
        result, metrics, counts, new_kept = tff.federated_map(
            update.computation, tff.federated_zip(argument)
        )
        if update.decodes_with is not None:
            value = state.client_work[update.decodes_with]
            result = tff.federated_map(
                update.decode, (result, tff.federated_broadcast(value))
            )
        elif update.decode is not None:
            result = tff.federated_map(update.decode, result)
        return result, metrics, counts, new_kept

    @tff.federated_computation(*types)
    def next_fn(state: Any, data: Any, kept: Any) -> Any:
        weights = state.global_model_weights
        at_clients, received, distributor = distribution.next(state, kept)
        result, metrics, counts, new_kept = trained(
            state, data, kept, at_clients
        )
        aggregated = aggregator.next(
            state.aggregator, result.update, result.update_weight
        )
        weight = tff.federated_value(0.0, tff.SERVER)
        if weighed:
            take_sum = fixed_point.secure_sum if secure else tff.federated_sum
            weight = take_sum(
                tff.federated_map(tagged.weight_of, result.update_weight)
                if tagged.is_tag(update.result_type.update_weight)
                else result.update_weight
            )
        delta, client_work = tff.federated_map(
            at_server, (state.client_work, aggregated.result, weight)
        )
        finalized = finalizer.next(state.finalizer, weights, delta)
        model = finalized.result
        if on_model is not None:
            model, client_work = tff.federated_map(
                on_model, (model, client_work, finalized.measurements)
            )
        new_state = tff.federated_zip(
            tff.learning.templates.LearningAlgorithmState(
                model,
                distributor,
                client_work,
                aggregated.state,
                finalized.state,
            )
        )
        measured = tff.federated_zip(
            collections.OrderedDict(
                distributor=tff.federated_value((), tff.SERVER),
                client_work=process.measure(
                    update, metrics, counts, received, secure
                ),
                aggregator=aggregated.measurements,
                finalizer=finalized.measurements,
            )
        )
        return KeptStateOutput(new_state, measured, new_kept)

    puts_back = [hook for hook in hooks if hook.puts_back]
    put_back = None
    if puts_back:
        on_client = _put_back(update, puts_back)

        @tff.federated_computation(*types)
        def put_back(state: Any, data: Any, kept: Any) -> Any:
            at_clients, _, _ = distribution.next(state, kept)
            result, _, _, after = trained(state, data, kept, at_clients)
            return tff.federated_map(on_client, (kept, after, result.update))

    return KeptStateProcess(
        initialize,
        next_fn,
        update.initial_states,
        lambda state: state.global_model_weights,
        lambda state, weights: state._replace(global_model_weights=weights),
        put_back,
    )


def _put_back(
    update: ClientUpdate, hooks: Sequence[ClientHook]
) -> tff.Computation:
    """Makes what a client keeps whose message did not count."""
    kept_type = type_of(update.initial_states)

    @tff.tensorflow.computation(kept_type, kept_type, update.result_type.update)
    def put_back(before: Any, after: Any, sent: Any) -> Any:
        kept = collections.OrderedDict(before)
        for hook in hooks:
            kept[hook.name] = hook.put_back(
                before[hook.name], after[hook.name], tf.nest.flatten(sent)
            )
        return kept

    return put_back


def _on_model(
    update: ClientUpdate, hooks: Sequence[ClientHook], measured: tff.Type
) -> Optional[tff.Computation]:
    """Lets hooks change the model after the server's step; `None` of none.

    Where the finalizer, whose measurements these are, refused the mean, all
    stays as it was.
    """
    if not hooks:
        return None
    values_type = type_of(update.initial_server_values)

    @tff.tensorflow.computation(update.weights_type, values_type, measured)
    def on_model(weights: Any, values: Any, measured: Any) -> Any:
        before = list(weights.trainable), collections.OrderedDict(values)

        def changed() -> Any:
            model, after = before[0], before[1].copy()
            for hook in hooks:
                ours, value = hook.model_at_server(after[hook.name], model)
                model, after[hook.name] = list(ours), value
            return model, after

        trainable, after = tf.cond(
            tf.equal(measured["update_non_finite"], 0), changed, lambda: before
        )
        weights = tff.learning.models.ModelWeights(
            trainable, weights.non_trainable
        )
        return weights, after

    return on_model
