"""Where all rooms meet: a config in, a trained and exported model out.

config = ExperimentConfig(run=RunConfig(output_dir="runs/first"))
result = experiment.run(config)
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors, registry, timing
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.assembly import privacy
from tff_pipeline.cohorts import source
from tff_pipeline.config import RUNTIME_OPTIONS, ExperimentConfig, RunConfig
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation import over_clients
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.files import durable
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.privacy import example_plan
from tff_pipeline.runs import environment, lock, signature, sinks
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.state_files import digest, flatten
from tff_pipeline.tasks import own_model
from tff_pipeline.tasks.task import Task
from tff_pipeline.training import columns, finish
from tff_pipeline.training.loop import Loop
from tff_pipeline.training.profile import Profile
from tff_pipeline.training.recorder import Recorder


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


def load_task(config: ExperimentConfig) -> Task:
    """Reads the data and makes the task that `config` describes.

    Raises:
      ConfigError: If the task does not go with the other settings.
      DataError: If a file is missing or damaged.
    """
    task_fn = registry.load(config.data.task, registry.TASKS)
    task = task_fn(config.data, config.run.seed)
    if config.data.model_fn is None:
        return task
    model_fn = own_model.load(config.data.model_fn)
    return dataclasses.replace(task, model_fn=model_fn)


def initial_weights(task: Task, seed: int) -> tff.learning.models.ModelWeights:
    """The model's first weights, a function of `seed` alone."""
    tf.keras.utils.set_random_seed(seed)
    weights = weight_groups(task.build_model()).sent
    return tf.nest.map_structure(lambda value: value.numpy(), weights)


def run(
    config: ExperimentConfig,
    overwrite: bool = False,
    profile: bool = False,
    until: Optional[int] = None,
) -> Result:
    """Trains, or goes on with training, and exports.

    Args:
      config: The experiment; its `run.output_dir` must be set.
      overwrite: Whether to delete another run that is there first.
      profile: Whether to write where the time went to `profile.txt`, and a
        trace of a few rounds to `tensorboard/`.
      until: A round to end after, if not the last of those that are planned.

    Raises:
      PipelineError: In a sentence, what the user should change.
    """
    if config.run.output_dir is None:
        raise errors.ConfigError("--output_dir is not set.")
    directory = RunDirectory(config.run.output_dir)
    with lock.held(directory.lock):
        if not profile:
            return _run(config, directory, overwrite, _no_profile, until)
        profiler = Profile(directory.tensorboard)
        with profiler.recorded():
            result = _run(config, directory, overwrite, profiler.round, until)
        durable.write_text(directory.profile, profiler.report() + "\n")
        return result


def _no_profile(_: int) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def _run(
    config: ExperimentConfig,
    directory: RunDirectory,
    overwrite: bool,
    around_round: Callable[[int], contextlib.AbstractContextManager],
    until: Optional[int],
) -> Result:
    sign = None
    if config.run.signing_key is not None:
        signer = signature.Signer(config.run.signing_key)
        sign = functools.partial(signer.write, directory.signature)
    # Beside the reading of the data, for files may be large.
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        hashes = beside.submit(environment.hashes, config.data.data_dir)
        with timing.span("data"):
            task = load_task(config)
    _check_target(config, task)
    groups = _eval_groups(config, task)
    with timing.span("building"):
        weights = initial_weights(task, config.run.seed)
        plan = privacy.plan_of(
            config,
            len(task.train.client_ids),
            sum(np.size(value) for value in weights.trainable),
            directory,
            overwrite,
        )
        examples_plan = example_plan.for_run(config, directory, overwrite)
        gradients_fn = privacy.of_examples(examples_plan, task)
    cohort_of = source.reader(config, task, weights, plan, examples_plan)
    data = {**hashes.result(), **task.frozen_hashes()}
    where = {**environment.describe(), "data": data}
    if config.data.model_fn is not None:
        where["data"] |= own_model.source_hash(config.data.model_fn)
    directory.claim(config, overwrite, where)
    with timing.span("building"):
        private = privacy.of(plan, directory)
        privacy.publish_examples(examples_plan, task, directory)
        process = fed_avg.build(
            task.tff_model_fn,
            config.clients,
            config.server,
            private.aggregator,
            private.release,
            private.numbered,
            gradients_fn,
        )
        evaluator = Evaluator(task)
    names = columns.names(
        task,
        groups,
        private.columns,
        private.exact and examples_plan is None,
    )
    identity = config.flags(identity_only=True)
    log = RoundLog(directory.rounds, {"config": identity, "environment": where})
    recorder = Recorder(
        sinks.build(sinks.SinkContext(directory, names, config)),
        log,
        CheckpointStore(
            directory.checkpoints,
            config.run.keep_checkpoints,
            identity,
        ),
        private.budget,
        config.run.target_metric,
        b"" if plan is None else plan.cohort_key,
        sign,
    )
    loop = Loop(
        process,
        cohort_of,
        functools.partial(columns.evaluated, evaluator, task, groups),
        functools.partial(columns.measured, names=task.metric_names),
        config.run,
        names,
        recorder,
        around_round,
        private.budget,
        until=until,
    )
    with _runtime(config.run):
        state = process.initialize()
        outcome = loop.run(process.set_model_weights(state, weights))
        weights = process.get_model_weights(outcome.state)
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
        None if plan is None else plan.epsilon(outcome.round_number),
        outcome.interrupted_by,
    )


def _runtime(config: RunConfig) -> contextlib.AbstractContextManager:
    runtime = registry.load(config.runtime, registry.RUNTIMES)
    options = RUNTIME_OPTIONS[config.runtime]
    return runtime(**{name: getattr(config, name) for name in options})


def _eval_groups(
    config: ExperimentConfig, task: Task
) -> dict[str, FederatedData]:
    """Which clients `--eval_clients` wants evaluated, by their group's name."""
    wanted = config.run.eval_clients
    known = over_clients.client_groups(task)
    if wanted is None:
        return {}
    if wanted != "seen" and "unseen" not in known:
        raise errors.ConfigError(
            f"--eval_clients={wanted} needs clients that never train, and "
            f"--task={config.data.task} has none; hold some out with "
            "--unseen_clients, or choose --eval_clients=seen."
        )
    names = known if wanted == "both" else [wanted]
    return {name: known[name][1] for name in names}


def _check_target(config: ExperimentConfig, task: Task) -> None:
    known = [f"eval_{name}" for name in task.evaluated_names]
    if config.run.target_metric not in [None, *known]:
        raise errors.ConfigError(
            f"--target_metric={config.run.target_metric} is not a metric of "
            f"--task={config.data.task}; choose one of: {', '.join(known)}."
        )
