"""A client's work as a `tff.learning.templates.ClientWorkProcess`."""

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.client_work import steps
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import ClientUpdate, build_client_update
from tff_pipeline.config import ClientConfig

_COUNTS = ("rejected_clients", "examples")


def build_client_work(
    model_fn: steps.ModelFn,
    optimizer: tff.learning.optimizers.Optimizer,
    options: ClientConfig,
    hooks: Sequence[ClientHook] = (),
) -> tff.learning.templates.ClientWorkProcess:
    """Builds the client work of federated averaging on blocks.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      optimizer: Of the clients' steps.
      options: Batch size, steps, weighting.
      hooks: What else clients do, in order; none keeps a state or has a value
        at the server, for which TFF's template has no place.

    Returns:
      A process whose clients' data are what `client_block` makes. A client
      whose update is not finite counts nothing, neither in the mean nor in
      the metrics, but as one of `rejected_clients` in the measurements.
    """
    return as_process(build_client_update(model_fn, optimizer, options, hooks))


def as_process(
    update: ClientUpdate,
) -> tff.learning.templates.ClientWorkProcess:
    """Wraps the work of clients that keep nothing in TFF's template."""
    assert update.is_plain

    @tff.federated_computation
    def initialize() -> Any:
        return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
        initialize.type_signature.result,
        tff.FederatedType(update.weights_type, tff.CLIENTS),
        tff.FederatedType(update.data_type, tff.CLIENTS),
    )
    def next_fn(state: Any, weights: Any, data: Any) -> Any:
        result, metrics, counts, _ = tff.federated_map(
            update.computation,
            tff.federated_zip(
                collections.OrderedDict(weights=weights, data=data)
            ),
        )
        return tff.templates.MeasuredProcessOutput(
            state, result, measure(update, metrics, counts)
        )

    return tff.learning.templates.ClientWorkProcess(initialize, next_fn)


def measure(update: ClientUpdate, metrics: Any, counts: Any) -> Any:
    """Sums up, in a federated computation, what clients measured.

    Args:
      update: Whose metrics these are.
      metrics: Not yet finalized, at the clients.
      counts: By name, at the clients, what is summed up.

    Returns:
      `train`, the metrics by name, `rejected_clients` and `examples`, at the
      server.
    """
    aggregate = tff.learning.metrics.sum_then_finalize(update.metric_finalizers)
    return tff.federated_zip(
        collections.OrderedDict(
            train=aggregate(metrics),
            **{name: tff.federated_sum(counts[name]) for name in _COUNTS},
        )
    )
