"""Sentences by which an algorithm refuses what it cannot be combined with.

Each names the flags with their values, why they do not go with `--algorithm`,
and what to do instead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig


def refusal(
    config: ExperimentConfig, flags: Mapping[str, Any], why: str, remedy: str
) -> errors.ConfigError:
    """Makes the error that refuses some flags beside the algorithm.

    >>> refusal(ExperimentConfig(), {"dp_clip": 1.0}, "reason", "leave it out")
    ConfigError('--algorithm=fed_avg with --dp_clip=1.0: reason; leave it out.')

    Args:
      config: The experiment, which names the algorithm.
      flags: The values of the flags that are refused, by their names.
      why: The reason, part of a sentence.
      remedy: What the user can do, part of a sentence.
    """
    named = " and ".join(f"--{flag}={value}" for flag, value in flags.items())
    return errors.ConfigError(
        f"--algorithm={config.algorithm.name} with {named}: {why}; {remedy}."
    )


def refuse_private(config: ExperimentConfig, why: str) -> None:
    """Refuses private aggregators.

    Args:
      config: The experiment.
      why: The reason, part of a sentence.

    Raises:
      ConfigError: If the aggregator is private.
    """
    if config.private:
        raise refusal(
            config,
            {"aggregator": config.aggregation.name},
            why,
            "choose fed_avg or fed_prox",
        )


def refuse_robust(config: ExperimentConfig, why: str) -> None:
    """Refuses rules that withstand hostile clients, where they cannot.

    Args:
      config: The experiment.
      why: The reason, part of a sentence.

    Raises:
      ConfigError: If the aggregator is such a rule, or has such steps.
    """
    if config.aggregation.robust:
        raise refusal(
            config,
            {"aggregator": config.aggregation.name},
            why,
            "choose --algorithm=fed_avg or fed_prox, or --aggregator=mean",
        )


def refuse_private_examples(
    config: ExperimentConfig,
    why: str,
    remedy: str = "choose fed_avg or fed_prox",
) -> None:
    """Refuses DP-SGD on clients.

    Args:
      config: The experiment.
      why: The reason, part of a sentence.
      remedy: What the user can do, part of a sentence.

    Raises:
      ConfigError: If single examples of clients are protected.
    """
    epsilon = config.clients.dp_target_epsilon
    if epsilon is not None:
        raise refusal(
            config,
            {"client_dp_target_epsilon": epsilon},
            why,
            remedy,
        )


def refuse_aggregators(
    config: ExperimentConfig,
    why: str,
    remedy: str = "leave --aggregator out",
) -> None:
    """Refuses other aggregators than the mean.

    Args:
      config: The experiment.
      why: The reason, part of a sentence.
      remedy: What the user can do, part of a sentence.

    Raises:
      ConfigError: If the aggregator is another.
    """
    name = config.aggregation.name
    if name != "mean":
        raise refusal(config, {"aggregator": name}, why, remedy)


def refuse_server_optimizers(config: ExperimentConfig, why: str) -> None:
    """Refuses other server optimizers than the one that takes the mean.

    Args:
      config: The experiment.
      why: The reason, part of a sentence.

    Raises:
      ConfigError: If it is not SGD at learning rate 1.
    """
    server = config.server.optimizer
    if server.name != "sgd" or server.learning_rate != 1.0:
        raise refusal(
            config,
            {
                "server_optimizer": server.name,
                "server_learning_rate": server.learning_rate,
            },
            why,
            "leave them out",
        )


def refuse_client_optimizers(
    config: ExperimentConfig, but: Sequence[str], why: str, remedy: str
) -> None:
    """Refuses optimizers of clients, but for some.

    Args:
      config: The experiment.
      but: The names of those that are not refused.
      why: The reason, part of a sentence.
      remedy: What the user can do, part of a sentence.

    Raises:
      ConfigError: If the clients' optimizer is another.
    """
    name = config.clients.optimizer.name
    if name not in but:
        raise refusal(config, {"client_optimizer": name}, why, remedy)
