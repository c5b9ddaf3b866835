"""Makes the runtime that computes, and the protocol of its secure sums."""

import contextlib
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import RUNTIME_OPTIONS, ExperimentConfig, RunConfig
from tff_pipeline.config.secure_aggregation import SECURE_AGGREGATORS
from tff_pipeline.secure_sum.measured import Measured
from tff_pipeline.secure_sum.plain import Plain


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
    config: RunConfig, secure_sum: Optional[Any] = None
) -> contextlib.AbstractContextManager[Any]:
    """Makes the runtime that `--runtime` names.

    Args:
      config: The options of the run.
      secure_sum: The protocol that carries out secure sums, for the in-process
        runtime; `None` for sums of the runtime's own.

    Returns:
      A context manager, inside which TFF's computations run.
    """
    context = registry.load(config.runtime, registry.RUNTIMES)
    options = {
        name: getattr(config, name) for name in RUNTIME_OPTIONS[config.runtime]
    }
    if secure_sum is not None:
        options["secure_sum"] = secure_sum
    return context(**options)
