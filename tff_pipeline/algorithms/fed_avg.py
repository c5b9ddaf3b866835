"""Federated averaging, generalised: any optimizer on either side.

McMahan et al. 2017, algorithm 1: every client of the cohort starts from the
server's model, takes epochs of minibatch steps on its own examples and sends
the difference; the server takes the weighted mean of the differences.
Reddi et al. 2021, algorithm 1: the negative mean is a gradient for the server's
optimizer; with SGD at rate 1 that is McMahan's.

The same as `tff.learning.algorithms.build_weighted_fed_avg` to rounding, with
client work that takes its data in blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import Factory
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import (
    Algorithm,
    AlgorithmContext,
    Process,
)
from tff_pipeline.client_work import kept_state, process
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.update import (
    ClientUpdate,
    build_client_update,
    num_bytes,
)
from tff_pipeline.config import ClientConfig, ServerConfig
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.runtime import compat


class FedAvg(Algorithm):
    """Federated averaging, with what hooks add to it.

    Another algorithm that differs by what clients do is a subclass whose
    `own_hooks` says so.
    """

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process."""
        clients, server = context.config.clients, context.config.server
        self.aggregation = context.aggregation
        self.hooks = [*self.own_hooks(context), *context.hooks]
        update = build_client_update(
            context.model_fn,
            build_optimizer(clients.optimizer),
            clients,
            self.hooks,
        )
        self.process = _compose(
            context.model_fn,
            update,
            server,
            context.aggregation.factory,
            self.hooks,
        )
        self.bytes_down = num_bytes(update.received_type)
        self.bytes_up = num_bytes(update.result_type)

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the hooks that make another algorithm of it; they come first.

        Args:
          context: What the algorithm is built from.
        """
        del context
        return ()


@compat.without_rewriting()
def build(
    model_fn: Callable[[], tff.learning.models.VariableModel],
    clients: ClientConfig,
    server: ServerConfig,
    aggregator: Optional[Factory] = None,
    hooks: Sequence[ClientHook] = (),
) -> Process:
    """Builds the process alone, for any TFF program.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      clients: What a client does.
      server: What the server does with the mean.
      aggregator: How updates become one; by default the weighted mean. One
        without weights counts all clients the same.
      hooks: What clients do beside plain steps, in order.

    Returns:
      A `LearningProcess` whose clients' data are what `client_block` makes; a
      `KeptStateProcess` if a hook keeps a state, has a value at the server or
      adds to the message.
    """
    optimizer = build_optimizer(clients.optimizer)
    update = build_client_update(model_fn, optimizer, clients, hooks)
    factory = aggregator or WeightedMeanFactory()
    return _compose(model_fn, update, server, factory, hooks)


def _compose(
    model_fn: Callable[[], tff.learning.models.VariableModel],
    update: ClientUpdate,
    server: ServerConfig,
    factory: Factory,
    hooks: Sequence[ClientHook],
) -> Process:
    templates = tff.learning.templates
    message, weights_type = update.result_type, update.weights_type

    @tff.tensorflow.computation
    def initial_weights() -> Any:
        return tff.learning.models.ModelWeights.from_model(model_fn())

    if isinstance(factory, tff.aggregators.UnweightedAggregationFactory):
        factory = tff.aggregators.as_weighted_aggregator(factory)
    aggregator = factory.create(message.update, message.update_weight)
    finalizer = templates.build_apply_optimizer_finalizer(
        build_optimizer(server.optimizer), weights_type
    )
    if update.is_plain:
        return templates.compose_learning_process(
            initial_weights,
            templates.build_broadcast_process(weights_type),
            process.as_process(update),
            aggregator,
            finalizer,
        )
    return kept_state.compose(
        initial_weights, update, hooks, aggregator, finalizer
    )
