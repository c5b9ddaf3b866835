"""Audits a run: membership inference on the model that it exported."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_pipeline import errors, randomness
from tff_pipeline.assembly import privacy, saved_weights
from tff_pipeline.assembly.task import load_saved_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.export import attacked, saved_model
from tff_pipeline.files import durable, storage
from tff_pipeline.privacy import membership
from tff_pipeline.reporting import audit_text
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.checkpoint import CheckpointName, CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.tasks.task import Task

# Members are drawn from at least so many clients, if there are.
_FEWEST_CLIENTS = 10


def audit(
    run_dir: str,
    round_number: Optional[CheckpointName] = None,
    data_dir: Optional[str] = None,
    max_examples: int = 10_000,
    per_class: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Attacks a run's model, and writes audit.json and audit.txt beside it.

    Members are training examples of clients that took part by that round;
    non-members are as many of the central test set. The attacker has the
    SavedModel, the examples and their labels.

    Args:
      run_dir: The folder that `experiment.run` wrote.
      round_number: The checkpoint; by default `saved_model/` as it is.
      data_dir: The task's data, if they have moved since.
      max_examples: The largest count of members, and of non-members.
      per_class: Whether to attack every class by itself too.

    Returns:
      (the text, the JSON object: "task", "round", "max_examples", "members" and
      "non_members" with "examples" and "mean_loss", "clients", "differences",
      sentences, "meaning", a sentence, and what `membership.attacks` returns).

    Raises:
      ConfigError: If the task has no classes, or --round was not saved.
      DataError: If a file is missing, or there are too few examples.
      RunDirectoryError: If there is no run or no model, or it cannot be
        written.
    """
    directory = RunDirectory(run_dir)
    config = directory.read_config(data_dir)
    if round_number is None and not storage.exists(directory.saved_model):
        raise errors.RunDirectoryError(
            f"{directory.saved_model} does not exist; let the run finish, or "
            "name a saved round with --round."
        )
    task = load_saved_task(config, directory)
    attacked.check_supported(task, run_dir, per_class)
    store = CheckpointStore(directory.checkpoints)
    number, in_state = store.load_weights(round_number)
    weights = saved_weights.by_algorithm(
        config, task, directory, number, in_state
    )
    dimension = sum(np.size(value) for value in weights.trainable)
    clients = _took_part(config, task, directory, number, dimension)
    draw = randomness.generator(config.run.seed, "audit")
    enough = min(max_examples, len(task.test))
    pool, read = _members(task, clients, enough, draw)
    count = min(enough, len(pool))
    if count < membership.LEAST:
        raise errors.DataError(
            f"--run_dir={run_dir}: {len(pool)} members were found for "
            f"{enough} non-members, and an audit needs {membership.LEAST} of "
            "each; raise --max_examples, or take a run with more data."
        )
    exported = weights if round_number is not None else None
    with _model(directory, task, exported) as path:
        model = attacked.Attacked(task, path)
        members, others = (
            model.observe(
                examples.take(draw.choice(len(examples), count, replace=False))
            )
            for examples in (pool, task.test)
        )
    if not (members.finite and others.finite):
        raise errors.RunDirectoryError(
            f"--run_dir={run_dir}: its model of round {number} gives numbers "
            "that are not finite; name an earlier round with --round."
        )
    measured = membership.attacks(members, others, config.run.seed, per_class)
    report = {
        "task": task.name,
        "round": number,
        "max_examples": max_examples,
        "clients": {"took_part": len(clients), "read": read},
        "members": _described(members),
        "non_members": _described(others),
        "differences": [
            *_known_differences(task, config, len(clients)),
            *audit_text.differences(measured),
        ],
        "meaning": audit_text.meaning(measured),
        **measured,
    }
    text = audit_text.in_words(report)
    durable.write_text(
        directory.audit, json.dumps(report, indent=2, allow_nan=False) + "\n"
    )
    durable.write_text(directory.audit_text, text + "\n")
    return text, report


@contextlib.contextmanager
def _model(
    directory: RunDirectory,
    task: Task,
    weights: Optional[tff.learning.models.ModelWeights],
) -> Iterator[str]:
    """Gives the folder of the SavedModel, or of one made of `weights`."""
    if weights is None:
        yield directory.saved_model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "saved_model")
        saved_model.export(task, weights, path)
        yield path


def _took_part(
    config: ExperimentConfig,
    task: Task,
    directory: RunDirectory,
    rounds: int,
    dimension: int,
) -> list[int]:
    """Lists the positions of all clients of rounds 1 to `rounds`, ascending.

    Args:
      config: The run's config.
      task: Its task.
      directory: Its folder.
      rounds: The last round that counts.
      dimension: The count of numbers in an update.

    Raises:
      RunDirectoryError: If the cohorts follow from a secret that is gone.
    """
    clients = len(task.train.client_ids)
    plan = privacy.plan_of_clients(
        config, clients, dimension, directory, overwrite=False
    )
    # How long clients took depends on how much was sent.
    rows = metrics_file.read(directory.metrics)
    traffic = {name: 0 for name in ("bytes_down", "bytes_up")}
    for name in traffic:
        traffic[name] = int(next((r[name] for r in rows if name in r), 0))
    # Simulated uploads are of a usual length, of which the measured may differ.
    for row in rows:
        if row.get("round_bytes_up") and "clients" in row:
            sent = int(row["clients"]) + int(row["late_clients"])
            traffic["bytes_up"] = int(row["round_bytes_up"]) // sent
            break
    cohorts = CohortSource(config, task, plan).with_traffic(**traffic)
    positions: set[int] = set()
    for number in range(1, rounds + 1):
        positions.update(cohorts.positions(number))
    # Behind the clients stand canaries.
    return sorted(position for position in positions if position < clients)


def _members(
    task: Task, clients: list[int], enough: int, draw: np.random.Generator
) -> tuple[Examples, int]:
    """Loads examples of clients in a drawn order until there are enough.

    Returns:
      (the examples of at least `_FEWEST_CLIENTS` clients, if there are so many;
      the count of clients that were read).
    """
    parts: list[Examples] = []
    for position in draw.permutation(clients):
        parts.append(task.train.load(task.train.client_ids[position]))
        if len(parts) >= _FEWEST_CLIENTS and sum(map(len, parts)) >= enough:
            break
    if not parts:
        return task.test.take(np.arange(0)), 0
    x = np.concatenate([part.x for part in parts])
    y = np.concatenate([part.y for part in parts])
    return Examples(x, y), len(parts)


def _described(observed: membership.Observed) -> dict[str, Any]:
    return {
        "examples": len(observed),
        "mean_loss": float(np.mean(observed.losses)),
    }


def _known_differences(
    task: Task, config: ExperimentConfig, took_part: int
) -> list[str]:
    """Says how members and non-members differ by how they came about."""
    sentences = []
    if task.unseen is not None and task.test_clients is None:
        sentences.append(
            "Non-members are of other clients than members, whose examples "
            "may be of another kind."
        )
    elif took_part < len(task.train):
        sentences.append(
            f"Members are of the {took_part} clients that took part, of "
            f"{len(task.train)}; non-members may be of any."
        )
    if config.clients.steps_per_round is not None:
        sentences.append(
            "With --client_steps_per_round some members may not have been in "
            "any step."
        )
    return sentences
