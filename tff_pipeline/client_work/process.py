"""A client's work as a `tff.learning.templates.ClientWorkProcess`."""

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow_federated as tff

from tff_pipeline.client_work import empty_model, fixed_point
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import ClientUpdate, build_client_update
from tff_pipeline.config import ClientConfig


def build_client_work(
    model_fn: empty_model.ModelFn,
    optimizer: tff.learning.optimizers.Optimizer,
    options: ClientConfig,
    hooks: Sequence[ClientHook] = (),
) -> tff.learning.templates.ClientWorkProcess:
    """Builds the client work of federated averaging on blocks.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      optimizer: The optimizer of the clients' steps.
      options: The options of clients: batch size, steps, weighting.
      hooks: The client hooks, in order. TFF's template has no place for hooks
        that keep a state, have a value at the server or add to the message.

    Returns:
      A process whose clients' data are made by `client_block`. A client whose
      update is not finite counts neither in the mean nor in the metrics; it is
      one of `rejected_clients` in the measurements.

    Raises:
      ValueError: If two hooks have the same name.
    """
    return as_process(build_client_update(model_fn, optimizer, options, hooks))


def as_process(
    update: ClientUpdate, secure: bool = False
) -> tff.learning.templates.ClientWorkProcess:
    """Wraps a client's computation in TFF's template.

    Args:
      update: The computation of a client's round; its `is_plain` is true.
      secure: Whether metrics and counts are taken by secure sums.
    """
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
            state, result, measure(update, metrics, counts, secure=secure)
        )

    return tff.learning.templates.ClientWorkProcess(initialize, next_fn)


def measure(
    update: ClientUpdate,
    metrics: Any,
    counts: Any,
    received: Any = None,
    secure: bool = False,
) -> Any:
    """Sums up clients' metrics and counts, inside a federated computation.

    Args:
      update: The computation that measured them.
      metrics: The metrics at the clients, not yet finalized.
      counts: The counts `rejected_clients`, `examples` and, where bytes leave a
        client, `payloads` and `payload_bytes`, at the clients.
      received: The counts `received` and `received_bytes`, at the clients;
        `None` if all receive the model whole.
      secure: Whether to take secure sums, which show the server no client's.

    Returns:
      A structure at the server: `train`, the finalized metrics by name, and
      the sums of the counts.
    """
    finalizers = update.metric_finalizers
    names = tff.structure.name_list(counts.type_signature.member)
    all_counts = collections.OrderedDict((n, counts[n]) for n in names)
    if received is not None:
        for name in ("received", "received_bytes"):
            all_counts[name] = received[name]
    if not secure:
        aggregate = tff.learning.metrics.sum_then_finalize(finalizers)
        return tff.federated_zip(
            collections.OrderedDict(
                train=aggregate(metrics),
                **{
                    name: tff.federated_sum(count)
                    for name, count in all_counts.items()
                },
            )
        )
    both = collections.OrderedDict(
        metrics=metrics, counts=tff.federated_zip(all_counts)
    )
    total = fixed_point.secure_sum(tff.federated_zip(both))

    @tff.tensorflow.computation(total.type_signature.member)
    def finalize(total: Any) -> Any:
        train = collections.OrderedDict(
            (name, finalizers[name](total["metrics"][name]))
            for name in finalizers
        )
        return collections.OrderedDict(train=train, **total["counts"])

    return tff.federated_map(finalize, total)
