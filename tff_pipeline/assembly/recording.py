"""Opens what a run is recorded in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs import sinks
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.training.recorder import Budget, Recorder


def open_recorder(
    config: ExperimentConfig,
    directory: RunDirectory,
    columns: Sequence[str],
    environment: Mapping[str, Any],
    budget: Optional[Budget],
    cohort_key: bytes,
    sign: Optional[Callable[[int, str], None]],
) -> tuple[Recorder, RoundLog]:
    """Opens metrics, log and checkpoints of a run.

    Args:
      config: The experiment.
      directory: Of the run; it is claimed.
      columns: Of metrics.csv.
      environment: Where the run takes place and on which data, as JSON.
      budget: What is spent of privacy, if it is accounted for.
      cohort_key: Of the cohorts' hashes; see `Recorder`.
      sign: Signs the log, if it is to be signed; see `Recorder`.

    Returns:
      (the recorder, the log that it writes to).
    """
    identity = config.flags(identity_only=True)
    log = RoundLog(
        directory.rounds, {"config": identity, "environment": environment}
    )
    recorder = Recorder(
        sinks.build(sinks.SinkContext(directory, columns, config)),
        log,
        CheckpointStore(
            directory.checkpoints, config.run.keep_checkpoints, identity
        ),
        budget,
        config.run.target_metric,
        cohort_key,
        sign,
    )
    return recorder, log
