"""Makes the runtime that computes, and the protocol of its secure sums."""

import contextlib
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import RUNTIME_OPTIONS, RunConfig
from tff_pipeline.config.secure_aggregation import SecureAggregationConfig


def secure_sum_protocol(config: SecureAggregationConfig) -> Optional[Any]:
    """Makes the protocol that `--secure_aggregation` names.

    Args:
      config: The options of the protocol.

    Returns:
      An object for the in-process runtime; `None` for plain sums.

    Raises:
      ConfigError: If a package that it needs is not installed.
    """
    if config.is_plain:
        return None
    try:
        protocol = registry.load(config.protocol, registry.SECURE_SUMS)
    except ModuleNotFoundError as error:
        raise errors.ConfigError(
            f"--secure_aggregation={config.protocol} needs the package "
            f"{(error.name or '').partition('.')[0]}; install "
            "tff-pipeline[secure_sum]."
        ) from None
    return protocol(config.neighbours, config.threshold or 0)


def runtime(
    config: RunConfig, secure_sum: Optional[Any] = None
) -> contextlib.AbstractContextManager[Any]:
    """Makes the runtime that `--runtime` names.

    Args:
      config: The options of the run.
      secure_sum: The protocol that carries out secure sums, for the in-process
        runtime; `None` for plain sums.

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
