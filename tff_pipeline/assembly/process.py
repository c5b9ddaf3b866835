"""Makes the algorithm of an experiment, and the runtime that computes it."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

from tff_pipeline import errors, registry
from tff_pipeline.aggregators import chain, lora_error
from tff_pipeline.aggregators.aggregation import Aggregation, AggregationContext
from tff_pipeline.algorithms import algorithm
from tff_pipeline.algorithms.algorithm import Algorithm, AlgorithmContext
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.augmented import Augmented
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.kept_momentum import KeptMomentum
from tff_pipeline.client_work.tagged import TaggedClients
from tff_pipeline.cohorts.asynchronous import DeviceSchedule
from tff_pipeline.cohorts.devices import Devices
from tff_pipeline.cohorts.source import sampler_of
from tff_pipeline.config import RUNTIME_OPTIONS, ExperimentConfig, RunConfig
from tff_pipeline.datasets.federation import augmentation
from tff_pipeline.tasks.task import Task


def build_algorithm(
    config: ExperimentConfig, task: Task, protection: Protection
) -> Algorithm:
    """Builds the algorithm with its aggregation and its client hooks.

    Args:
      config: The experiment.
      task: The task, which has the model.
      protection: The experiment's privacy plans.

    Raises:
      ConfigError: If the aggregator does not allow `--sampling`, or the task
        does not allow `--augment`.
    """
    aggregation = chain.build(
        AggregationContext(
            config.aggregation,
            config.clients.clients_per_round,
            protection.clients,
            seed=config.run.seed,
        )
    )
    _check_cohort(config, aggregation)
    if config.clients.sampling not in aggregation.samplings:
        raise errors.ConfigError(
            f"--sampling={config.clients.sampling} is not used with "
            f"--aggregator={config.aggregation.name}; choose "
            f"{' or '.join(aggregation.samplings)}."
        )
    if task.factor_places:
        aggregation = lora_error.with_lora_error(
            aggregation, task.factor_places
        )
    return algorithm.build(
        AlgorithmContext(
            config,
            task.tff_model_fn,
            aggregation,
            [
                *_changes(config, task),
                *protection.hooks,
                *([TaggedClients()] if aggregation.tagged else []),
            ],
            population=len(task.train),
            examples=lambda: sum(map(task.train.size, task.train.client_ids)),
            weight_names=task.weight_names["trainable"],
            initial_weights=functools.partial(initial_weights, task),
            schedule=functools.partial(_schedule, config, task),
            client_ids=task.train.client_ids,
        )
    )


def _check_cohort(config: ExperimentConfig, aggregation: Aggregation) -> None:
    """Refuses cohorts that are smaller than the aggregator needs."""
    size, needs = config.clients.clients_per_round, aggregation.needs
    if size < needs.clients:
        f = config.aggregation.byzantine_clients
        raise errors.ConfigError(
            f"--aggregator={config.aggregation.name} with "
            f"--byzantine_clients={f} needs {needs.clients} clients or more in "
            f"a round ({needs.words}), and --clients_per_round={size}; raise "
            "that, or lower --byzantine_clients."
        )


def _schedule(
    config: ExperimentConfig, task: Task, bytes_down: int, bytes_up: int
) -> DeviceSchedule:
    """Makes the schedule of an algorithm without rounds."""
    devices = None
    if config.devices.simulated:
        devices = Devices(config, task.train)
        devices = devices.with_traffic(bytes_down, bytes_up)
    sampler = sampler_of(config, task, None)
    return DeviceSchedule(config, task.train.client_ids, sampler, devices)


def _changes(config: ExperimentConfig, task: Task) -> Sequence[ClientHook]:
    """Makes the hooks of `--augment` and `--client_kept_momentum`, if any."""
    hooks: list[ClientHook] = []
    change = augmentation.build(config.data.augment, task.augmentations)
    if change is not None:
        hooks.append(Augmented(change))
    if config.clients.kept_momentum is not None:
        hooks.append(KeptMomentum(config.clients.kept_momentum))
    return hooks


def runtime(config: RunConfig) -> contextlib.AbstractContextManager[Any]:
    """Makes the runtime that `--runtime` names.

    Args:
      config: The options of the run.

    Returns:
      A context manager, inside which TFF's computations run.
    """
    context = registry.load(config.runtime, registry.RUNTIMES)
    options = RUNTIME_OPTIONS[config.runtime]
    return context(**{name: getattr(config, name) for name in options})


def what_leaves_a_client(built: Algorithm) -> str:
    """Describes, step by step, what leaves a client in a round.

    Args:
      built: The algorithm.

    Returns:
      One line, such as "What leaves a client: the model delta and its weight
      (220,844 bytes), 1. clipped to 0.5, with noise of standard deviation 0.5".
    """
    line = "What leaves a client: the model delta and its weight"
    if built.bytes_up is not None:
        line += f" ({built.bytes_up:,} bytes)"
    steps = filter(None, (hook.describe() for hook in built.hooks))
    return line + "".join(
        f", {number}. {step}" for number, step in enumerate(steps, 1)
    )
