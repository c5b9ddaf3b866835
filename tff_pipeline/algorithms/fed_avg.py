"""Federated averaging, generalised: any optimizer on either side.

McMahan et al. 2017, algorithm 1: every client of the cohort starts from the
server's model, takes epochs of minibatch steps on its own examples and sends
the difference; the server takes the weighted mean of the differences.
Reddi et al. 2021, algorithm 1: the negative mean is a gradient for the server's
optimizer; with SGD at rate 1 that is McMahan's.

The same as `tff.learning.algorithms.build_weighted_fed_avg` to rounding, with
client work that takes its data in blocks.
"""

from collections.abc import Callable
from typing import Any, Optional, Union

import numpy as np
import tensorflow_federated as tff

from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.client_work.process import Release, build_client_work
from tff_pipeline.config import ClientConfig, ServerConfig
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.runtime import compat

Aggregator = Union[
    tff.aggregators.WeightedAggregationFactory,
    tff.aggregators.UnweightedAggregationFactory,
]


@compat.without_rewriting()
def build(
    model_fn: Callable[[], tff.learning.models.VariableModel],
    clients: ClientConfig,
    server: ServerConfig,
    aggregator: Optional[Aggregator] = None,
    release: Optional[Release] = None,
    numbered: bool = False,
    gradients_fn: Optional[ExampleDp] = None,
) -> tff.learning.templates.LearningProcess:
    """The process.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      clients: What a client does.
      server: What the server does with the mean.
      aggregator: How updates become one; by default the weighted mean. One
        without weights counts all clients the same.
      release: What a client does to its update before it sends it.
      numbered: Whether the aggregator takes clients' numbers for weights.
      gradients_fn: Of a client's steps, if not those of batches.

    Returns:
      A process whose clients' data are what `client_work.block` makes.
    """
    work = build_client_work(
        model_fn,
        build_optimizer(clients.optimizer),
        clients,
        release,
        numbered,
        gradients_fn,
    )
    weights_type = work.next.type_signature.parameter[1].member

    @tff.tensorflow.computation
    def initial_weights() -> Any:
        return tff.learning.models.ModelWeights.from_model(model_fn())

    aggregator = aggregator or WeightedMeanFactory()
    if isinstance(aggregator, tff.aggregators.UnweightedAggregationFactory):
        aggregator = tff.aggregators.as_weighted_aggregator(aggregator)
    weight_type = tff.TensorType(np.int64 if numbered else np.float32)
    templates = tff.learning.templates
    return templates.compose_learning_process(
        initial_weights,
        templates.build_broadcast_process(weights_type),
        work,
        aggregator.create(weights_type.trainable, weight_type),
        templates.build_apply_optimizer_finalizer(
            build_optimizer(server.optimizer), weights_type
        ),
    )
