"""Makes the task of an experiment, and checks settings against it."""

import concurrent.futures
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors, registry, timing
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly import beginning, freezing, memory
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.clients import BALANCED
from tff_pipeline.config.run import SEEN, UNSEEN
from tff_pipeline.datasets.federation import augmentation, client_tests
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation import over_clients, scores
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.objectives import class_weights
from tff_pipeline.runs import environment
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metric_names import TEST, VALIDATION, chosen_column
from tff_pipeline.tasks import own_model
from tff_pipeline.tasks.task import Task

# The flag of a file that a private run reads -> what it holds, and of what.
_DESCRIBED_BY = {
    "categories_file": (
        "categories",
        "a CSV file of the lines column,category, from a code book and not "
        "from the data",
    ),
    "column_bounds_file": (
        "bounds",
        "a CSV file of the lines column,low,high, from what such values can be "
        "and not from the data",
    ),
}
_MOST_NAMED = 10


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
    if config.data.model_fn is not None:
        task = own_model.use(task, config.data.model_fn)
    fraction = config.data.client_test_fraction
    if fraction is None:
        return task
    if task.test_clients is not None:
        raise errors.ConfigError(
            f"--client_test_fraction={fraction} is for data that name no test "
            f"examples of their clients, and those of --task={config.data.task}"
            " do; leave it out."
        )
    train, tests = client_tests.hold_out_of_each(
        task.train, fraction, config.run.seed
    )
    if tests is None:
        raise errors.ConfigError(
            f"--client_test_fraction={fraction} holds out no example, for it "
            "is rounded to whole examples of each client; raise it."
        )
    return dataclasses.replace(task, train=train, test_clients=tests)


def load_saved_task(config: ExperimentConfig, directory: RunDirectory) -> Task:
    """Makes the task of a run, with the weights that it has frozen.

    Args:
      config: The experiment of the run.
      directory: The run directory, which may have moved since.

    Raises:
      ConfigError: If the model has other weights than the run's.
      DataError: If the task's data are missing or damaged.
      RunDirectoryError: If the run was trained on other frozen weights than
        the task has now, or those that it froze are missing.
    """
    task = freezing.of_run(load_task(config), directory)
    directory.check_frozen(task.frozen_hashes())
    return task


def load_described_task(
    config: ExperimentConfig, overwrite: bool = False
) -> tuple[Task, dict[str, Any]]:
    """Makes the task, and describes the environment of the run.

    What `--freeze` chooses is written to the run's folder, for the model has it
    from there.

    Args:
      config: The experiment.
      overwrite: Whether frozen weights that another run left in that folder
        are replaced.

    Returns:
      (the task, the environment as JSON: versions, machine, command line, in
      `data` the SHA-256 of each file that the task depends on, in `weights` the
      names of the weights that travel, unless checkpoints hold other weights
      than those that are exported, and in `constant_answer` the metrics of
      a model that sees no example).

    Raises:
      ConfigError: If the task cannot be combined with the other settings.
      DataError: If a file is missing or damaged.
      RunDirectoryError: If the run that is there froze other weights.
    """
    # Files may be large; they are hashed while the task reads them.
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        hashes = beside.submit(file_hashes, config)
        with timing.span("data"):
            task = weighted(load_task(config), config.clients.class_weights)
            task = beginning.begun(task, config)
    # What is wrong is refused before anything is written.
    check_nothing_fitted(config, task)
    check_target(config, task)
    memory.check(config, task)
    evaluated_clients(config, task)
    augmentation.build(config.data.augment, task.augmentations)
    if config.data.model.freeze is not None:
        first = initial_weights(task, config.run.seed)
        task = freezing.frozen(task, config, first, overwrite)
    data = {**hashes.result(), **task.frozen_hashes()}
    if config.data.model_fn is not None:
        data |= own_model.source_hash(config.data.model_fn)
    in_state = algorithm.chosen(config).model_in_state
    return task, {
        **environment.describe(),
        "data": data,
        # What the arrays of checkpoints are, for models that begin with them.
        "weights": task.weight_names if in_state else {},
        # What the run's metrics are to be seen beside.
        "constant_answer": scores.constant_answer(task),
    }


def weighted(task: Task, weights: Optional[str]) -> Task:
    """Returns a task whose clients train with weights of classes.

    Args:
      task: The task.
      weights: The value of `--class_weights`, or `None` for none.

    Raises:
      ConfigError: If the task does not predict classes, or has not as many.
    """
    if weights is None:
        return task
    place = f"--class_weights={weights}"
    if task.predicts != "class":
        raise errors.ConfigError(
            f"{place} is for tasks that predict a class, which --task="
            f"{task.name} does not; leave it out."
        )
    names = task.class_names
    if weights == BALANCED:
        counts = np.zeros([len(names)], np.int64)
        for client_id in task.train.client_ids:
            labels = task.train.load(client_id).y.reshape(-1).astype(np.int64)
            counts += np.bincount(labels, minlength=len(names))
        numbers = class_weights.balanced(counts)
    else:
        numbers = list(map(float, weights.split(",")))
    if len(numbers) != len(names):
        raise errors.ConfigError(
            f"{place} has {len(numbers)} numbers, and --task={task.name} "
            f"{len(names)} classes, in this order: {_shown(names)}; give one "
            "for each."
        )
    pairs = [f"{name} {each:.4g}" for name, each in zip(names, numbers)]
    note = f"Weights of classes in the training loss: {_shown(pairs)}."
    return dataclasses.replace(
        task,
        training_loss_fn=class_weights.weighted(task.loss_fn, numbers),
        notes=f"{task.notes} {note}".strip(),
    )


def _shown(words: Sequence[str]) -> str:
    more = [] if len(words) <= _MOST_NAMED else ["..."]
    return ", ".join([*words[:_MOST_NAMED], *more])


def file_hashes(config: ExperimentConfig) -> dict[str, str]:
    """Computes SHA-256 of the files that a run reads, by their names.

    Args:
      config: The experiment.
    """
    files = {
        **config.data.files(),
        **config.algorithm.files(),
        **config.devices.files(),
    }
    found = environment.hashes(files.pop("data_dir", None))
    for flag, path in files.items():
        for sha256 in environment.hashes(path).values():
            found[f"--{flag}"] = sha256
    return found


def check_nothing_fitted(config: ExperimentConfig, task: Task) -> None:
    """Checks that a private run computes nothing outside of its plan.

    Args:
      config: The experiment.
      task: Its task, which may hold statistics of the clients' data.

    Raises:
      ConfigError: If it holds a column's categories or scale, and the run
        protects clients or examples by differential privacy.
    """
    examples = config.clients.dp_target_epsilon
    if not config.private and examples is None:
        return
    because = (
        f"--aggregator={config.aggregation.name}"
        if config.private
        else f"--client_dp_target_epsilon={examples}"
    )
    for name, flag in (task.fitted_columns or {}).items():
        kind, content = _DESCRIBED_BY[flag]
        raise errors.ConfigError(
            f"{because} lets nothing be computed from the clients' data "
            f"outside of its plan, and the column {name!r} needs {kind}; name "
            f"them in --{flag} ({content}), or leave the column out."
        )


def initial_weights(task: Task, seed: int) -> tff.learning.models.ModelWeights:
    """Draws the model's first weights, a function of `seed` alone.

    Args:
      task: The task, whose model is built. Its `initial_values` take the place
        of what is drawn.
      seed: The experiment's seed.

    Returns:
      The weights that travel, as NumPy arrays; frozen weights are left out.
    """
    tf.keras.utils.set_random_seed(seed)
    weights = weight_groups(task.build_model()).sent

    def begun(kind: str) -> list[Any]:
        return [
            task.initial_values.get(name, drawn.numpy()).astype(
                drawn.dtype.as_numpy_dtype, copy=False
            )
            for name, drawn in zip(
                task.weight_names[kind], getattr(weights, kind)
            )
        ]

    return tff.learning.models.ModelWeights(
        begun("trainable"), begun("non_trainable")
    )


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
      ConfigError: If the task has no clients of a chosen group, or clients
        with models of their own have nothing to test them on.
    """
    choice = config.run.eval_clients
    known = over_clients.client_groups(task)
    if choice is None:
        return {}
    if choice != SEEN and UNSEEN not in known:
        raise errors.ConfigError(
            f"--eval_clients={choice} needs clients that never train, and "
            f"--task={config.data.task} has none; hold some out with "
            "--unseen_clients, or choose --eval_clients=seen."
        )
    personal = algorithm.chosen(config).personal
    if personal and choice != UNSEEN and task.test_clients is None:
        raise errors.ConfigError(
            f"--algorithm={config.algorithm.name} with --eval_clients="
            f"{choice} evaluates clients' own models, and not on what they "
            f"trained on, but --task={config.data.task} has no test examples "
            "of its clients; hold some out with --client_test_fraction, such "
            "as 0.2."
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
