"""Makes the algorithm of an experiment, with its aggregation and its hooks."""

import functools
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors, registry
from tff_pipeline.aggregators import chain, collect, lora_error
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
    LinearCode,
)
from tff_pipeline.aggregators.rows import RowStep
from tff_pipeline.algorithms import algorithm
from tff_pipeline.algorithms.algorithm import Algorithm, AlgorithmContext
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.attacks import attack
from tff_pipeline.client_work.augmented import Augmented
from tff_pipeline.client_work.compression import Compressed
from tff_pipeline.client_work.held_model import ModelCode
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.kept_momentum import KeptMomentum
from tff_pipeline.client_work.pruning import Pruned
from tff_pipeline.client_work.tagged import TaggedClients
from tff_pipeline.cohorts.asynchronous import DeviceSchedule
from tff_pipeline.cohorts.devices import Devices
from tff_pipeline.cohorts.source import sampler_of
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.compression import LINEAR
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
      ConfigError: If the aggregator does not allow `--sampling`,
        `--compression` or `--prune_to`, or the task does not allow `--augment`.
    """
    aggregation = chain.build(
        AggregationContext(
            config.aggregation,
            config.clients.clients_per_round,
            protection.clients,
            seed=config.run.seed,
        )
    )
    hostile = attack.of_experiment(config, task)
    if hostile.on_rows is not None:
        aggregation = _attacked(config, aggregation, hostile.on_rows)
    _check_cohort(config, aggregation)
    if config.clients.sampling not in aggregation.samplings:
        raise errors.ConfigError(
            f"--sampling={config.clients.sampling} is not used with "
            f"--aggregator={config.aggregation.name}; choose "
            f"{' or '.join(aggregation.samplings)}."
        )
    linear = _linear_code(config)
    if linear is not None:
        aggregation = linear.before(aggregation)
    elif task.factor_places:
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
                *([] if hostile.hook is None else [hostile.hook]),
                *([TaggedClients()] if aggregation.tagged else []),
                *_compression(config, aggregation),
                *_pruning(config, task, aggregation),
            ],
            population=len(task.train),
            examples=lambda: sum(map(task.train.size, task.train.client_ids)),
            weight_names=task.weight_names["trainable"],
            initial_weights=functools.partial(initial_weights, task),
            schedule=functools.partial(_schedule, config, task),
            client_ids=task.train.client_ids,
            first_hooks=protection.first_hooks,
            model_code=model_code(config),
        )
    )


def _attacked(
    config: ExperimentConfig, aggregation: Aggregation, step: RowStep
) -> Aggregation:
    """Lets attackers replace their rows before an aggregator sees them."""
    if aggregation.rule is None:
        raise errors.ConfigError(
            f"--attack={config.attack.name} is of attackers that know all "
            "updates of their round, which are simulated where the aggregator "
            f"takes these together, and --aggregator={config.aggregation.name}"
            " does not; choose mean or a robust one, or an attack such as "
            "sign_flip_own."
        )
    return collect.aggregation_of(step.before(aggregation.rule))


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
        attackers_too = config.attack.attack_kept_momentum is not False
        hooks.append(KeptMomentum(config.clients.kept_momentum, attackers_too))
    return hooks


def _compression(
    config: ExperimentConfig, aggregation: Aggregation
) -> Sequence[ClientHook]:
    """Makes the hook of `--compression`, in a list; empty without it.

    Raises:
      ConfigError: If the server learns sums alone, and the code does not add
        up.
    """
    name = config.compression.name
    if name is None or config.compression.linear:
        return ()
    if aggregation.sums_only:
        raise errors.ConfigError(
            f"--compression={name} is not used with "
            f"--aggregator={config.aggregation.name}: the server learns only "
            "the sum of what clients send, and bytes of this code do not add "
            f"up; choose --compression={' or '.join(LINEAR)}, or leave it out."
        )
    return [Compressed(_compressor(config, name), aggregation.tagged)]


def _linear_code(config: ExperimentConfig) -> Optional[LinearCode]:
    """Makes the code of `--compression` if it is linear; else `None`."""
    name = config.compression.name
    if name is None or not config.compression.linear:
        return None
    made: LinearCode = registry.load(name, registry.COMPRESSORS)(
        CompressorContext(config.compression, config.run.seed)
    )
    return made


def _pruning(
    config: ExperimentConfig, task: Task, aggregation: Aggregation
) -> Sequence[ClientHook]:
    """Makes the hook of `--prune_to`, in a list; empty without it.

    Raises:
      ConfigError: If the server learns sums alone, or what trains are the
        factors of an adapter.
    """
    share = config.pruning.to
    if share is None:
        return ()
    if aggregation.sums_only:
        raise errors.ConfigError(
            f"--prune_to={share} is not used with "
            f"--aggregator={config.aggregation.name}: the server learns only "
            "the sum of what clients send, whose length is fixed, and pruned "
            "updates grow shorter; leave it out, or choose mean."
        )
    if task.factor_places:
        raise errors.ConfigError(
            f"--prune_to={share} is not used with --task={task.name}, of which "
            "only the factors of an adapter train, whose product has no zeros "
            "where they have; leave it out, or lower --lora_rank."
        )
    return [Pruned(config.pruning, aggregation.tagged)]


def model_code(config: ExperimentConfig) -> Optional[ModelCode]:
    """Makes the code of `--compression_down`; `None` without it.

    Args:
      config: The experiment.
    """
    if config.compression.down is None:
        return None
    return ModelCode(
        _compressor(config, config.compression.down), config.run.seed
    )


def _compressor(config: ExperimentConfig, name: str) -> Compressor:
    """Makes the code that a flag names."""
    make = registry.load(name, registry.COMPRESSORS)
    built: Compressor = make(
        CompressorContext(config.compression, config.run.seed)
    )
    return built
