"""Where all rooms meet: a config in, a trained and exported model out.

config = ExperimentConfig(run=RunConfig(output_dir="runs/first"))
result = experiment.run(config)
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Optional

import numpy as np

from tff_pipeline import errors, timing
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly.privacy import protect
from tff_pipeline.assembly.process import runtime, what_leaves_a_client
from tff_pipeline.assembly.task import (
    initial_weights,
    load_described_task,
    load_task,
)
from tff_pipeline.assembly.training import build_loop, signer
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable
from tff_pipeline.runs import lock
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.state_files import digest, flatten
from tff_pipeline.training import columns, finish
from tff_pipeline.training.profile import Profile

__all__ = ["Result", "load_task", "run"]


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
      directory: Where everything lies.
      round_number: Rounds trained, in this process and before.
      evaluation: The last evaluation's metrics by name, empty if there was
        none.
      target_reached: Whether it stopped for `--target_metric`.
      budget_spent: Whether it stopped for `--dp_max_epsilon`.
      epsilon: What was spent of privacy, `None` without an account of it.
      interrupted_by: The signal that stopped it, or `None`; a run that was
        stopped is saved, but neither exported nor drawn.
    """

    directory: RunDirectory
    round_number: int
    evaluation: Mapping[str, float]
    target_reached: bool
    budget_spent: bool
    epsilon: Optional[float]
    interrupted_by: Optional[str]


def run(
    config: ExperimentConfig,
    overwrite: bool = False,
    profile: bool = False,
    until: Optional[int] = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Result:
    """Trains, or goes on with training, and exports.

    Args:
      config: The experiment; its `run.output_dir` must be set.
      overwrite: Whether to delete another run that is there first.
      profile: Whether to write where the time went to `profile.txt`, and a
        trace of a few rounds to `tensorboard/`.
      until: A round to end after, if not the last of those that are planned.
      announce: Takes, before the first round, a line that says what leaves a
        client.

    Raises:
      PipelineError: In a sentence, what the user should change.
    """
    if config.run.output_dir is None:
        raise errors.ConfigError("--output_dir is not set.")
    directory = RunDirectory(config.run.output_dir)
    with lock.held(directory.lock):
        arguments = config, directory, overwrite, until, announce
        if not profile:
            return _run(*arguments, lambda _: contextlib.nullcontext())
        profiler = Profile(directory.tensorboard)
        with profiler.recorded():
            result = _run(*arguments, profiler.round)
        durable.write_text(directory.profile, profiler.report() + "\n")
        return result


def _run(
    config: ExperimentConfig,
    directory: RunDirectory,
    overwrite: bool,
    until: Optional[int],
    announce: Callable[[str], None],
    around_round: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> Result:
    algorithm.check(config)
    sign = signer(config, directory)
    task, environment = load_described_task(config)
    with timing.span("building"):
        weights = initial_weights(task, config.run.seed)
        dimension = sum(np.size(value) for value in weights.trainable)
        protection = protect(config, task, dimension, directory, overwrite)
    source = CohortSource(config, task, protection.clients, protection.examples)
    directory.claim(config, overwrite, environment)
    loop, log = build_loop(
        config,
        task,
        protection,
        source,
        directory,
        environment=environment,
        sign=sign,
        around_round=around_round,
        until=until,
    )
    announce(what_leaves_a_client(loop.algorithm))
    with runtime(config.run):
        outcome = loop.run(loop.algorithm.initial_state(weights))
        weights = loop.algorithm.model_weights(outcome.state, outcome.kept)
    if outcome.interrupted_by is None:
        finish.finish(
            finish.FinishContext(
                config,
                task,
                directory,
                outcome.round_number,
                weights,
                digest(flatten(outcome.state)),
                log,
            )
        )
    return Result(
        directory,
        outcome.round_number,
        columns.last_evaluation(directory.metrics),
        outcome.target_reached,
        outcome.budget_spent,
        None
        if loop.budget is None
        else loop.budget.epsilon(outcome.round_number),
        outcome.interrupted_by,
    )
