"""Makes the algorithm of an experiment, and the runtime it computes on."""

import contextlib

from tff_pipeline import errors, registry
from tff_pipeline.aggregators import chain
from tff_pipeline.aggregators.aggregation import AggregationContext
from tff_pipeline.algorithms import algorithm
from tff_pipeline.algorithms.algorithm import Algorithm, AlgorithmContext
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.config import RUNTIME_OPTIONS, ExperimentConfig, RunConfig
from tff_pipeline.tasks.task import Task


def build_algorithm(
    config: ExperimentConfig, task: Task, protection: Protection
) -> Algorithm:
    """Builds the algorithm with its aggregation and what clients do.

    Args:
      config: The experiment.
      task: Its model.
      protection: Its privacy plans.

    Raises:
      ConfigError: If the aggregator does not allow the sampling.
    """
    aggregation = chain.build(
        AggregationContext(
            config.aggregation,
            config.clients.clients_per_round,
            protection.clients,
        )
    )
    if config.clients.sampling not in aggregation.samplings:
        raise errors.ConfigError(
            f"--sampling={config.clients.sampling} is not used with "
            f"--aggregator={config.aggregation.name}; choose "
            f"{' or '.join(aggregation.samplings)}."
        )
    return algorithm.build(
        AlgorithmContext(
            config, task.tff_model_fn, aggregation, protection.hooks
        )
    )


def runtime(config: RunConfig) -> contextlib.AbstractContextManager:
    """Makes the context in which TFF's computations run."""
    context = registry.load(config.runtime, registry.RUNTIMES)
    options = RUNTIME_OPTIONS[config.runtime]
    return context(**{name: getattr(config, name) for name in options})


def what_leaves_a_client(built: Algorithm) -> str:
    """Says, step by step, what leaves a client in a round.

    Returns:
      One line, such as "What leaves a client: the model delta (19,210 bytes);
      then clipped to 0.5, with noise of standard deviation 0.5".
    """
    size = "" if built.bytes_up is None else f" ({built.bytes_up:,} bytes)"
    steps = [f"the model delta{size}", *(h.describe() for h in built.hooks)]
    return f"What leaves a client: {'; then '.join(steps)}"
