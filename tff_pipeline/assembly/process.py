"""Makes the algorithm of an experiment, and the runtime that computes it."""

import contextlib
import functools
from collections.abc import Sequence
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.aggregators import chain, lora_error
from tff_pipeline.aggregators.aggregation import (
    Aggregation,
    AggregationContext,
)
from tff_pipeline.aggregators.compressed.compressor import (
    Compressor,
    CompressorContext,
)
from tff_pipeline.algorithms import algorithm
from tff_pipeline.algorithms.algorithm import Algorithm, AlgorithmContext
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.augmented import Augmented
from tff_pipeline.client_work.compression import Compressed
from tff_pipeline.client_work.held_model import ModelCode
from tff_pipeline.client_work.hooks import ClientHook
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
      ConfigError: If the aggregator does not allow `--sampling` or
        `--compression`, or the task does not allow `--augment`.
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
                *_compression(config, aggregation),
            ],
            population=len(task.train),
            examples=lambda: sum(map(task.train.size, task.train.client_ids)),
            weight_names=task.weight_names["trainable"],
            initial_weights=functools.partial(initial_weights, task),
            schedule=functools.partial(_schedule, config, task),
            client_ids=task.train.client_ids,
            model_code=_model_code(config),
        )
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
    """Makes the hook of `--augment`, in a list; an empty list without it."""
    change = augmentation.build(config.data.augment, task.augmentations)
    return () if change is None else [Augmented(change)]


def _compression(
    config: ExperimentConfig, aggregation: Aggregation
) -> Sequence[ClientHook]:
    """Makes the hook of `--compression`, in a list; empty without it.

    Raises:
      ConfigError: If the server learns sums alone, and the code does not add
        up.
    """
    name = config.compression.name
    if name is None:
        return ()
    compressor = _compressor(config, name)
    if aggregation.sums_only and not compressor.linear:
        raise errors.ConfigError(
            f"--compression={name} is not used with "
            f"--aggregator={config.aggregation.name}: the server learns only "
            "the sum of what clients send, and bytes of this code do not add "
            "up; leave it out."
        )
    return [Compressed(compressor)]


def _model_code(config: ExperimentConfig) -> Optional[ModelCode]:
    """Makes the code of `--compression_down`; `None` without it."""
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


def what_reaches_a_client(config: ExperimentConfig) -> str:
    """Describes how the model travels to clients, if not whole.

    Args:
      config: The experiment.

    Returns:
      One line; empty without `--compression_down`.
    """
    code = _model_code(config)
    if code is None:
        return ""
    return (
        "What reaches a client: what the model is ahead of the one sent "
        f"before, as bytes, {code.compressor.describe()}; the whole model, if "
        "the client was not in the round before"
    )


def what_leaves_a_client(built: Algorithm) -> str:
    """Describes, step by step, what leaves a client in a round.

    Args:
      built: The algorithm.

    Returns:
      One line, such as "What leaves a client: the model delta and its weight
      (220,844 bytes), 1. clipped to 0.5, with noise of standard deviation 0.5".
    """
    line = "What leaves a client: the model delta and its weight"
    encoded = any(hook.encodes for hook in built.hooks)
    if built.bytes_up is not None and not encoded:
        line += f" ({built.bytes_up:,} bytes)"
    steps = filter(None, (hook.describe() for hook in built.hooks))
    line += "".join(
        f", {number}. {step}" for number, step in enumerate(steps, 1)
    )
    if built.bytes_up is not None and encoded:
        line += f" (about {built.bytes_up:,} bytes)"
    return line
