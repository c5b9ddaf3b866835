"""Makes the training loop of a run, with its evaluation and its records."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, Optional

from tff_pipeline import timing
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm
from tff_pipeline.assembly.task import evaluated_clients
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs import signature, sinks
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runtime.ray.options import LOST_WORKERS
from tff_pipeline.secure_sum.measured import Measured
from tff_pipeline.tasks.task import Task
from tff_pipeline.training import columns
from tff_pipeline.training.loop import Loop
from tff_pipeline.training.recorder import Recorder

# Signs the log; takes the round's number and the hash of the log's last entry.
Sign = Callable[[int, str], None]


def signer(config: ExperimentConfig, directory: RunDirectory) -> Optional[Sign]:
    """Makes the function that signs the log; `None` without `--signing_key`.

    Args:
      config: The experiment.
      directory: The run's directory, for the signature.

    Raises:
      ConfigError: If the key cannot be read.
    """
    if config.run.signing_key is None:
        return None
    key = signature.Signer(config.run.signing_key)
    return functools.partial(key.write, directory.signature)


def build_loop(
    config: ExperimentConfig,
    task: Task,
    protection: Protection,
    source: CohortSource,
    directory: RunDirectory,
    *,
    environment: Mapping[str, Any],
    sign: Optional[Sign],
    around_round: Callable[[int], contextlib.AbstractContextManager[Any]],
    until: Optional[int],
    runtime_figures: Optional[Callable[[], Mapping[str, int]]] = None,
    secure_sum: Optional[Measured] = None,
) -> tuple[Loop, RoundLog, CohortSource]:
    """Builds the loop with the algorithm, its evaluation and its records.

    Args:
      config: The experiment.
      task: The experiment's data and model.
      protection: The experiment's privacy plans.
      source: The reader of cohorts.
      directory: The run's directory, already claimed.
      environment: The versions, machine and data of the run, as JSON.
      sign: Signs the log; `None` if it is not to be signed.
      around_round: Makes a context manager, from a round's number, which is
        entered before the round and left after it.
      until: The last round to run; by default that of `config`.
      runtime_figures: Returns what a cluster counted since the last round, by
        name of a column; `None` without a cluster.
      secure_sum: The protocol that carries out secure sums, which measures what
        clients send; `None` if there is none.

    Returns:
      (the loop, the log that it writes, the reader that it takes cohorts from,
      which knows how many bytes the algorithm moves).

    Raises:
      ConfigError: If settings cannot be combined.
      RunDirectoryError: If a file of the run cannot be read or written.
    """
    groups = evaluated_clients(config, task)
    with timing.span("building"):
        budget = protection.begin(task, directory)
        algorithm = build_algorithm(config, task, protection)
        evaluate = columns.Evaluation(
            algorithm, task, groups, source.training_data, source.attack
        )
    source = source.with_traffic(
        algorithm.bytes_down or 0, algorithm.bytes_up or 0
    )
    if algorithm.puts_back:
        source = source.with_late()
    names = columns.names(
        task,
        groups,
        [
            *algorithm.columns,
            *source.columns,
            *([] if runtime_figures is None else [LOST_WORKERS]),
        ],
        protection.exact_metrics and not algorithm.aggregation.hides_clients,
        algorithm.personal,
        backdoor=source.attack.trigger is not None,
    )
    if not protection.exact_metrics:
        names = [name for name in names if name not in _exact_bytes(config)]
    identity = config.flags(identity_only=True)
    log = RoundLog(
        directory.rounds, {"config": identity, "environment": environment}
    )
    recorder = Recorder(
        sinks.build(sinks.SinkContext(directory, names, config)),
        log,
        CheckpointStore(
            directory.checkpoints, config.run.keep_checkpoints, identity
        ),
        budget,
        protection.cohort_key,
        sign,
        statement=directory.privacy_hashes,
    )
    kept = None
    if algorithm.initial_kept_state is not None:
        kept = KeptStates(directory.checkpoints, algorithm.initial_kept_state)
    loop = Loop(
        algorithm,
        source.cohort,
        evaluate,
        config.run,
        names,
        recorder,
        around_round,
        budget,
        kept,
        until,
        evaluates_before=bool(task.begins_with),
        runtime_figures=runtime_figures or (lambda: {}),
        sent_bytes=(lambda: None) if secure_sum is None else secure_sum.take,
    )
    return loop, log, source


def _exact_bytes(config: ExperimentConfig) -> tuple[str, ...]:
    """Names the columns of bytes that depend on what clients sent or missed."""
    compression = config.compression
    up = None if compression.linear else compression.name
    columns = {"bytes_up": up, "bytes_down": compression.down}
    return tuple(name for name, code in columns.items() if code is not None)
