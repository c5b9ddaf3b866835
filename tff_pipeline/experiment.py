"""Runs an experiment: a config goes in, a trained and exported model comes out.

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
from tff_pipeline.assembly import runtimes
from tff_pipeline.assembly.privacy import protect
from tff_pipeline.assembly.task import (
    initial_weights,
    load_described_task,
    load_task,
)
from tff_pipeline.assembly.training import build_loop, signer
from tff_pipeline.assembly.travel import what_travels
from tff_pipeline.attacks import in_words
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.datasets.readers import column_guard
from tff_pipeline.files import durable
from tff_pipeline.runs import best, lock, metrics_file
from tff_pipeline.runs.best import Best
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metric_names import VALIDATION
from tff_pipeline.runs.state_files import digest, flatten
from tff_pipeline.training import finish
from tff_pipeline.training.profile import Profile

__all__ = ["Result", "load_task", "run"]

_MOST_NAMED = 5  # Clients that never took part.


@dataclasses.dataclass(frozen=True)
class Result:
    """Result of a run.

    Attributes:
      directory: The run's directory, which holds all files of the run.
      round_number: The number of rounds trained, in this process and before.
      evaluation: The metrics of the last evaluation on the test set, by name;
        empty if there was none.
      validation: The metrics of the last evaluation on the validation set,
        likewise.
      target_reached: Whether the run stopped because of `--target_value`.
      out_of_patience: Whether the run stopped because of `--patience`.
      budget_spent: Whether the run stopped because of `--dp_max_epsilon`.
      epsilon: The epsilon spent; `None` if no plan protects clients.
      interrupted_by: The name of the signal that stopped the run, or `None`.
        An interrupted run is saved, but neither exported nor plotted.
      best: The best evaluation by `--target_metric`.
    """

    directory: RunDirectory
    round_number: int
    evaluation: Mapping[str, float]
    validation: Mapping[str, float]
    target_reached: bool
    out_of_patience: bool
    budget_spent: bool
    epsilon: Optional[float]
    interrupted_by: Optional[str]
    best: Best


def run(
    config: ExperimentConfig,
    overwrite: bool = False,
    profile: bool = False,
    until: Optional[int] = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Result:
    """Trains from the start or from the newest checkpoint, and exports.

    Args:
      config: The experiment; `config.run.output_dir` must be set.
      overwrite: Whether to delete a run that is in the directory already.
      profile: Whether to write the time each part took to `profile.txt`, and a
        trace of a few rounds to `tensorboard/`.
      until: The last round to run; by default that of `config`.
      announce: Called before the first round with lines that describe the
        columns of a table, how the data were read, where that is not plain,
        what the algorithm has to say, who attacks, what leaves a client, and on
        what the best round is chosen; after the last one, with which clients
        never took part, where devices are simulated, and how often more
        attacked than the aggregator withstands.

    Returns:
      The number of rounds, the last metrics and why the run stopped.

    Raises:
      PipelineError: If the run fails; its sentence tells the user what to do.
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
    runtimes.check(config)
    secure_sum = runtimes.secure_sum_protocol(config)
    task, environment = load_described_task(config, overwrite)
    if task.columns:
        announce(column_guard.in_words(task.columns))
    with timing.span("building"):
        weights = initial_weights(task, config.run.seed)
        dimension = sum(np.size(value) for value in weights.trainable)
        protection = protect(config, task, dimension, directory, overwrite)
    source = CohortSource(
        config,
        task,
        protection.clients,
        protection.examples,
        by_reference=config.run.runtime == "ray",
    )
    runtime = runtimes.runtime(
        config, task, protection.examples, secure_sum, announce
    )
    directory.claim(config, overwrite, environment)
    loop, log, source = build_loop(
        config,
        task,
        protection,
        source,
        directory,
        environment=environment,
        sign=sign,
        around_round=around_round,
        runtime_figures=getattr(runtime, "figures", None),
        until=until,
        secure_sum=secure_sum,
    )
    if task.notes:
        announce(task.notes)
    for note in (*loop.algorithm.notes, *source.notes):
        announce(note)
    travels = what_travels(loop.algorithm, config)
    for line in travels:
        announce(line)
    durable.write_text(
        directory.travels, "".join(f"{each}\n" for each in travels)
    )
    if config.run.target_metric is not None:
        announce(best.in_words(config.run.target_metric, loop.columns))
    with runtime:
        outcome = loop.run(loop.algorithm.initial_state(weights))
        weights = loop.algorithm.model_weights(outcome.state, outcome.kept)
    rounds, budget = outcome.round_number, loop.budget
    never_seen = source.never_seen(rounds)
    # Who came is a secret of private runs, and so is how many never did.
    if never_seen and protection.exact_metrics:
        named = ", ".join(map(repr, never_seen[:_MOST_NAMED]))
        if len(never_seen) > _MOST_NAMED:
            named += " and others"
        announce(
            f"{len(never_seen)} of {len(task.train)} clients counted in none "
            f"of {rounds} rounds: never chosen, not there, lost or late "
            f"({directory.metrics} has the numbers of every round). They are "
            f"{named}."
        )
    withstands = config.aggregation.byzantine_clients
    if withstands is not None and protection.exact_metrics:
        line = in_words.after(metrics_file.read(directory.metrics), withstands)
        if line:
            announce(line)
    if outcome.interrupted_by is None:
        final = digest(flatten(outcome.state))
        context = finish.FinishContext(
            config, task, directory, rounds, weights, final, log
        )
        finish.finish(context)
        if sign is not None:
            # The records of what was exported are signed as well.
            log.sync()
            sign(rounds, log.head)
    return Result(
        directory,
        rounds,
        metrics_file.last_evaluation(directory.metrics),
        metrics_file.last_evaluation(directory.metrics, VALIDATION),
        outcome.target_reached,
        outcome.out_of_patience,
        outcome.budget_spent,
        None if budget is None else budget.epsilon(rounds),
        outcome.interrupted_by,
        outcome.best,
    )
