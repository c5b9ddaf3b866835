"""Two clients with quadratic losses, on which algorithms have known values.

f_i = a_i / 2 (x - b_i)^2 with a = (1, 4), b = (0, 1): from x = 0 by two full
gradients of rate .1 a round; the optimum of their mean is .8.
"""

import numpy as np
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tests.testing.control_variates import model_fn
from tff_pipeline import registry
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.datasets.federation.federated_data import Examples

RATE = 0.1
CLIENT_IDS = ("first", "second")


def algorithm(
    name,
    clients=None,
    optimizer="sgd",
    examples=2,
    schedule=None,
    loss=model_fn,
    first_hooks=(),
    hooks=(),
    **options,
):
    """The algorithm `name` for two clients, with `examples` in all.

    By default all count the same. `schedule` is for algorithms without rounds,
    `loss` makes another model than that of quadratic losses. `first_hooks`
    precede the hooks of the algorithm, and `hooks` come after them.
    """
    config = ExperimentConfig(
        algorithm=AlgorithmConfig(name, **options),
        clients=ClientConfig(
            **{
                "batch_size": 1,
                "steps_per_round": 2,
                "weighting": "uniform",
                "optimizer": OptimizerConfig("client", optimizer, RATE),
                **(clients or {}),
            }
        ),
    )
    made = registry.load(name, registry.ALGORITHMS)
    made.check(config)
    return made(
        AlgorithmContext(
            config,
            loss,
            Aggregation(WeightedMeanFactory()),
            hooks,
            population=2,
            examples=lambda: examples,
            weight_names=["quadratic/x"],
            initial_weights=first_weights,
            schedule=schedule,
            client_ids=CLIENT_IDS,
            first_hooks=first_hooks,
        )
    )


def first_weights(seed):
    """The first weights of a seed: x is the seed."""
    return tff.learning.models.ModelWeights([np.float32([seed])], [])


def block_of(number, client, data, steps, count, **more):
    """The block of a client: `count` times the same example."""
    a, b = data or [(1.0, 0.0), (4.0, 1.0)][client]
    examples = Examples(np.float32([[a, b]] * count), np.zeros(count, np.int32))
    return drawn_block(examples, 0, number, client, steps=steps, **more)


def play(made, cohorts, data=None, steps=None, counts=None, **more):
    """What each round ends with.

    Args:
      made: The algorithm.
      cohorts: The clients of each round.
      data: (a, b) of clients that have others.
      steps: The number of steps of clients that take others.
      counts: The number of examples of clients that have more than one.
      **more: What all blocks have beside.

    Returns:
      Dicts: x, the server's values by hook, the kept states by client.
    """
    kept = [made.initial_kept_state] * 2
    state, history = made.initial_state(first_weights(0)), []
    for number, cohort in enumerate(cohorts, 1):
        blocks = [
            block_of(
                number,
                c,
                (data or {}).get(c),
                (steps or {}).get(c, 0),
                (counts or {}).get(c, 1),
                **more,
            )
            for c in cohort
        ]
        rows = [kept[c] for c in cohort] if kept[0] is not None else ()
        after, metrics, rows = made.run_round(state, blocks, rows)
        if made.measure(metrics)["rejected_update"]:
            after = made.without_update(state, after)
        state = after
        for client, row in zip(cohort, rows):
            kept[client] = row
        history.append(
            {
                "state": state,
                "measured": made.measure(metrics),
                "x": float(np.squeeze(state.global_model_weights.trainable[0])),
                "server": state.client_work,
                "kept": list(kept),
            }
        )
    return history


def number(value):
    """The one number of a nested value."""
    while isinstance(value, (list, tuple)):
        (value,) = value
    return float(np.squeeze(value))
