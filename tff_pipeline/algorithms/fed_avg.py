"""Federated averaging with any optimizer on clients and at the server.

McMahan et al. 2017, algorithm 1: every client of the cohort starts from the
server's model, takes epochs of minibatch steps on its own examples and sends
the difference; the server takes the weighted mean of the differences.

Reddi et al. 2021, algorithm 1: the server's optimizer takes the negative of
that mean as a gradient. With SGD at learning rate 1 this is McMahan's
algorithm.

The results equal those of `tff.learning.algorithms.build_weighted_fed_avg` up
to rounding; the client work here takes its data in blocks.
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
from tff_pipeline.client_work.held_model import HeldModel, ModelCode
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
    """Federated averaging, with client hooks.

    An algorithm that differs from it only by what clients do is a subclass
    that overrides `own_hooks`.

    Attributes:
      update: The computation of a client's round.
    """

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process.

        Args:
          context: The arguments of the algorithm.
        """
        clients, server = context.config.clients, context.config.server
        self.aggregation = context.aggregation
        own = self.own_hooks(context)
        self.hooks = [*context.first_hooks, *own, *context.hooks]
        if context.model_code is not None:
            self.hooks.insert(0, HeldModel())
        update = build_client_update(
            context.model_fn,
            build_optimizer(clients.optimizer),
            clients,
            self.hooks,
        )
        self.update = update
        self.process = _compose(
            context.model_fn,
            update,
            server,
            context.aggregation.factory,
            self.hooks,
            context.model_code,
            context.aggregation.secure,
        )
        self.bytes_down = num_bytes(update.received_type)
        self.bytes_up = update.bytes_up
        if update.decode is None:
            sent = update.result_type
            self.bytes_up = context.aggregation.bytes_of(
                sent.update, sent.update_weight
            )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the hooks of the algorithm itself.

        They precede those that change the message, such as noise on it; only
        `context.first_hooks` precede them.

        Args:
          context: The arguments of the algorithm.
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
      clients: The options of clients: optimizer, batch size, steps, weighting.
      server: The options of the server's optimizer.
      aggregator: The factory of the aggregation; by default the weighted mean.
        A factory without weights counts all clients the same.
      hooks: The client hooks, in order.

    Returns:
      A `LearningProcess` whose clients' data are made by `client_block`; a
      `KeptStateProcess` if a hook keeps a state, has a value at the server or
      adds to the message.

    Raises:
      ValueError: If two hooks have the same name.
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
    model_code: Optional[ModelCode] = None,
    secure: bool = False,
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
            process.as_process(update, secure),
            aggregator,
            finalizer,
        )
    return kept_state.compose(
        initial_weights,
        update,
        hooks,
        aggregator,
        finalizer,
        model_code,
        secure,
    )
