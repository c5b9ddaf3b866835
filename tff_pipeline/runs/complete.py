"""Tells whether a run has nothing left to do, without loading TensorFlow."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.runs import (
    environment,
    metric_names,
    metrics_file,
    round_log,
)
from tff_pipeline.runs.best import Best
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metric_names import VALIDATION


@dataclasses.dataclass(frozen=True)
class Complete:
    """A run that has been trained to its end, and what it reached.

    Attributes:
      round_number: The number of rounds trained.
      evaluation: The metrics of the last evaluation on the test set, by name.
      validation: Those on the validation set; empty without one.
      target_reached: Whether it ended because of `--target_value`.
      out_of_patience: Whether it ended because of `--patience`.
      epsilon: The epsilon spent; `None` if no plan protects clients.
      best: The best evaluation by `--target_metric`.
    """

    round_number: int
    evaluation: Mapping[str, float]
    validation: Mapping[str, float]
    target_reached: bool
    out_of_patience: bool
    epsilon: Optional[float]
    best: Best


def find(
    directory: RunDirectory, config: ExperimentConfig
) -> Optional[Complete]:
    """Returns what a complete run reached; `None` if there is more to do.

    Whatever is damaged, missing or not known here counts as more to do: to
    train on finds out what it is.

    Args:
      directory: The run directory; nothing in it is changed.
      config: The experiment that is to run in it.

    Raises:
      ConfigError: If another experiment's run is in the directory.
      RunDirectoryError: If its config.json cannot be read.
    """
    if not storage.exists(directory.config):
        return None
    directory.check_same(config)
    try:
        rows = metrics_file.read(directory.metrics)
        return _found(directory, config, rows)
    except (OSError, ValueError, KeyError, errors.PipelineError):
        return None


def _found(
    directory: RunDirectory,
    config: ExperimentConfig,
    rows: Sequence[metrics_file.Row],
) -> Optional[Complete]:
    store = CheckpointStore(
        directory.checkpoints, config=config.flags(identity_only=True)
    )
    last = max(store.rounds(), default=0)
    if not rows or rows[-1]["round"] != last:
        return None
    best = Best.of_notes(store.check(last).notes)
    reached = metric_names.reaches_target(config.run, rows[-1])
    ended = best.ends(config.run)
    if last < config.run.total_rounds and not (reached or ended):
        return None
    needed = []
    if config.run.signing_key is not None:
        needed.append(directory.signature)
    if config.private or config.clients.dp_target_epsilon is not None:
        needed += [directory.privacy_text, directory.privacy_json]
        if config.privacy.dp_noise_seed is None:
            needed.append(directory.noise_secret)
    if not all(map(storage.exists, needed)):
        return None
    for name in config.run.finishers.split(","):
        if not _is_finished(name, directory, last):
            return None
    epsilon = rows[-1].get("epsilon")
    return Complete(
        last,
        metrics_file.last_evaluation(directory.metrics),
        metrics_file.last_evaluation(directory.metrics, VALIDATION),
        reached,
        ended,
        epsilon,
        best,
    )


def _is_finished(name: str, directory: RunDirectory, last: int) -> bool:
    """Returns whether a finisher has done its work after the last round."""
    if name == "none":
        return True
    if name == "export":
        exported = [
            record.content
            for record in round_log.read(directory.rounds)
            if record.content["kind"] == "exported"
        ]
        return bool(exported) and (
            exported[-1]["round"] == last
            and exported[-1]["files"] == environment.hashes(directory.exported)
        )
    drawn = {
        "learning_curve": directory.learning_curve,
        "report": directory.report,
    }.get(name)
    return (
        drawn is not None
        and storage.is_local(drawn)
        and os.path.exists(drawn)
        # Drawn after the last row was written.
        and os.path.getmtime(drawn) >= os.path.getmtime(directory.metrics)
    )
