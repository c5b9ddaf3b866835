"""Makes the task of an experiment, and checks settings against it."""

import concurrent.futures
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors, registry, timing
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.datasets.federation import augmentation
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation import over_clients
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.runs import environment
from tff_pipeline.runs.metric_names import TEST, VALIDATION, chosen_column
from tff_pipeline.tasks import own_model
from tff_pipeline.tasks.task import Task


def load_task(config: ExperimentConfig) -> Task:
    """Reads the data and makes the task that `config` describes.

    Args:
      config: The experiment.

    Raises:
      ConfigError: If the task cannot be combined with the other settings.
      DataError: If a file is missing or damaged.
    """
    task_fn = registry.load(config.data.task, registry.TASKS)
    task = task_fn(config.data, config.run.seed)
    if config.data.model_fn is None:
        return task
    return own_model.use(task, config.data.model_fn)


def load_described_task(
    config: ExperimentConfig,
) -> tuple[Task, dict[str, Any]]:
    """Makes the task, and describes the environment of the run.

    Args:
      config: The experiment.

    Returns:
      (the task, the environment as JSON: versions, machine, command line and,
      in `data`, the SHA-256 of each file that the task depends on).

    Raises:
      ConfigError: If the task cannot be combined with the other settings.
      DataError: If a file is missing or damaged.
    """
    # Files may be large; they are hashed while the task reads them.
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        hashes = beside.submit(environment.hashes, config.data.data_dir)
        with timing.span("data"):
            task = load_task(config)
    # What is wrong is refused before anything is written.
    check_target(config, task)
    evaluated_clients(config, task)
    augmentation.build(config.data.augment, task.augmentations)
    data = {**hashes.result(), **task.frozen_hashes()}
    if config.data.model_fn is not None:
        data |= own_model.source_hash(config.data.model_fn)
    return task, {**environment.describe(), "data": data}


def initial_weights(task: Task, seed: int) -> tff.learning.models.ModelWeights:
    """Draws the model's first weights, a function of `seed` alone.

    Args:
      task: The task, whose model is built.
      seed: The experiment's seed.

    Returns:
      The weights that travel, as NumPy arrays; frozen weights are left out.
    """
    tf.keras.utils.set_random_seed(seed)
    weights = weight_groups(task.build_model()).sent
    return tf.nest.map_structure(lambda value: value.numpy(), weights)


def evaluated_clients(
    config: ExperimentConfig, task: Task
) -> Mapping[str, FederatedData]:
    """Chooses the test examples that `--eval_clients` asks for.

    Args:
      config: The experiment.
      task: The task that has the clients.

    Returns:
      Test examples by client, for each of the groups `seen` and `unseen` that
      is evaluated; empty without `--eval_clients`.

    Raises:
      ConfigError: If the task has no clients of a chosen group.
    """
    choice = config.run.eval_clients
    known = over_clients.client_groups(task)
    if choice is None:
        return {}
    if choice != "seen" and "unseen" not in known:
        raise errors.ConfigError(
            f"--eval_clients={choice} needs clients that never train, and "
            f"--task={config.data.task} has none; hold some out with "
            "--unseen_clients, or choose --eval_clients=seen."
        )
    names = known if choice == "both" else [choice]
    return {name: known[name][1] for name in names}


def check_target(config: ExperimentConfig, task: Task) -> None:
    """Checks that `--target_metric`, if set, names a metric of the task.

    Args:
      config: The experiment.
      task: The task that has the metrics.

    Raises:
      ConfigError: If it is none of them.
    """
    metric, known = config.run.target_metric, evaluated_columns(task)
    if metric is not None and chosen_column(metric, known) is None:
        raise errors.ConfigError(
            f"--target_metric={metric} is not a metric of "
            f"--task={config.data.task}; choose one of: "
            f"{', '.join([*task.evaluated_names, *known])}."
        )


def evaluated_columns(task: Task) -> list[str]:
    """Lists the columns of metrics.csv among which `--target_metric` chooses.

    Args:
      task: The task that has the metrics.
    """
    prefixes = [TEST] if task.validation is None else [TEST, VALIDATION]
    return [
        f"{each}{name}" for each in prefixes for name in task.evaluated_names
    ]
