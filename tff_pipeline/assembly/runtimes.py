"""Makes the runtime that computes, and the protocol of its secure sums."""

import contextlib
from collections.abc import Callable
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.assembly import workers
from tff_pipeline.config import RUNTIME_OPTIONS, ExperimentConfig
from tff_pipeline.config.run import SAME_BITS
from tff_pipeline.config.secure_aggregation import SECURE_AGGREGATORS
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.runtime.ray.options import PoolOptions
from tff_pipeline.secure_sum.measured import Measured
from tff_pipeline.secure_sum.plain import Plain
from tff_pipeline.tasks.task import Task


def secure_sum_protocol(experiment: ExperimentConfig) -> Optional[Measured]:
    """Makes the protocol that `--secure_aggregation` names.

    Args:
      experiment: The experiment.

    Returns:
      An object for the in-process runtime, which measures what clients send;
      `None` for another runtime, or an aggregator without secure sums.

    Raises:
      ConfigError: If a package that it needs is not installed.
    """
    config = experiment.secure_aggregation
    if config.is_plain:
        if (
            experiment.run.runtime != "in_process"
            or experiment.aggregation.last not in SECURE_AGGREGATORS
        ):
            return None
        return Measured(Plain())
    try:
        protocol = registry.load(config.protocol, registry.SECURE_SUMS)
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"--secure_aggregation={config.protocol} needs the package "
            f"{(error.name or '').partition('.')[0]}; install "
            "tff-pipeline[secure_sum]."
        ) from None
    return Measured(protocol(config.neighbours, config.threshold or 0))


def runtime(
    config: ExperimentConfig,
    task: Optional[Task] = None,
    examples_plan: Optional[ExamplePlan] = None,
    secure_sum: Optional[Measured] = None,
    announce: Callable[[str], None] = lambda _: None,
) -> contextlib.AbstractContextManager[Any]:
    """Makes the runtime that `--runtime` names.

    Args:
      config: The experiment.
      task: Its task; without one (`None`) what is computed is no round, and it
        is computed in this process where that gives the same bits.
      examples_plan: The plan that protects examples, if there is one.
      secure_sum: The protocol that carries out secure sums, for the in-process
        runtime; `None` for sums of the runtime's own.
      announce: Takes a line about each event on a cluster.

    Returns:
      A context manager, inside which TFF's computations run.

    Raises:
      ConfigError: If a package that the runtime needs is not installed.
    """
    name = config.run.runtime
    if task is None and name in SAME_BITS:
        name = SAME_BITS[0]
    context = _context(name)
    if name == "ray":
        assert task is not None
        return _cluster(config, context, task, examples_plan, announce)
    options = {
        option: getattr(config.run, option) for option in RUNTIME_OPTIONS[name]
    }
    if secure_sum is not None:
        options["secure_sum"] = secure_sum
    made: contextlib.AbstractContextManager[Any] = context(**options)
    return made


def check(config: ExperimentConfig) -> None:
    """Checks, before data are read, that what the runtime needs is installed.

    Args:
      config: The experiment.

    Raises:
      ConfigError: If it is not; its sentence says what to install.
    """
    _context(config.run.runtime)


def _context(name: str) -> Any:
    """Imports the class of a runtime."""
    try:
        return registry.load(name, registry.RUNTIMES)
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"--runtime={name} needs the package "
            f"{(error.name or '').partition('.')[0]}; install "
            f"tff-pipeline[{name}]."
        ) from None


def _cluster(
    config: ExperimentConfig,
    context: Any,
    task: Task,
    examples_plan: Optional[ExamplePlan],
    announce: Callable[[str], None],
) -> Any:
    """Makes the runtime on a Ray cluster."""
    run = config.run
    # `RunConfig` settles all of them.
    assert run.ray_workers and run.min_workers and run.max_shard_tries
    assert run.shard_seconds
    return context(
        workers.reader_of(config, task, examples_plan),
        workers.facts(config, task),
        run.ray_address,
        PoolOptions(
            workers=run.ray_workers,
            min_workers=run.min_workers,
            shard_seconds=run.shard_seconds,
            max_tries=run.max_shard_tries,
        ),
        run.clients_per_shard,
        announce,
    )
