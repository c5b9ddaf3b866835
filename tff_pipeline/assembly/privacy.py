"""What a plan contributes to a run, piece by piece."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.algorithms.fed_avg import Aggregator
from tff_pipeline.client_work import example_dp
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.client_work.process import Release
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.privacy import (
    canaries,
    example_plan,
    mechanisms,
    plan,
    secret_file,
    statement,
)
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.privacy.ledger import Ledger
from tff_pipeline.privacy.plan import Plan
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.tasks.task import Task

_SOME = 10  # Test examples whose loss is looked at.


@dataclasses.dataclass(frozen=True)
class Parts:
    """The pieces; by default those of a run without a plan.

    Attributes:
      aggregator: How updates become one, if not the mean.
      release: What a client does to its update before it sends it.
      numbered: Whether the aggregator takes clients' numbers for weights.
      budget: What may be spent and what was.
      columns: Of metrics.csv, those that it brings.
      exact: Whether exact figures of training may be written.
    """

    aggregator: Optional[Aggregator] = None
    release: Optional[Release] = None
    numbered: bool = False
    budget: Optional[Ledger] = None
    columns: Sequence[str] = ()
    exact: bool = True


def plan_of(
    config: ExperimentConfig,
    clients: int,
    dimension: int,
    directory: RunDirectory,
    overwrite: bool,
) -> Optional[Plan]:
    """The plan of a run, with the secret that it has; `None` if not private.

    Args:
      config: The experiment.
      clients: How many there are.
      dimension: Numbers in an update.
      directory: Of the run, if it was begun.
      overwrite: Whether it begins anew.

    Raises:
      PipelineError: In a sentence, what the user should change.
    """
    options = config.aggregator
    if not options.private:
        return None
    secret = secret_file.secret_of_run(
        directory, options.dp_noise_seed, overwrite
    )
    population = clients + (options.audit_canaries or 0)
    return plan.make(config, population, dimension, secret)


def of(planned: Optional[Plan], directory: RunDirectory) -> Parts:
    """The pieces of a plan; its secret is in the directory from now on.

    Raises:
      RunDirectoryError: If the secret cannot be written.
    """
    if planned is None:
        return Parts()
    if not planned.seeded:
        secret_file.keep(directory.noise_secret, planned.secret)
    if not storage.exists(directory.privacy_json):
        _state(planned, directory, 0)
    return Parts(
        mechanisms.aggregator(planned),
        mechanisms.release(planned),
        planned.setting.mechanism == "distributed",
        Ledger(planned, functools.partial(_publish, planned, directory)),
        planned.columns,
        bool(planned.options.dp_release_exact_metrics),
    )


def of_examples(
    planned: Optional[ExamplePlan], task: Task
) -> Optional[ExampleDp]:
    """The clients' steps of DP-SGD, if there is a plan.

    Raises:
      ConfigError: If the task's loss is no mean over examples, or no noise
        keeps the target for a client.
    """
    if planned is None:
        return None
    model = task.build_model()
    some = task.test.take(np.arange(min(_SOME, len(task.test))))
    if model.losses or not example_dp.learns_from_one(
        model, task.loss_fn(), some.x, some.y
    ):
        raise errors.ConfigError(
            f"--client_dp_target_epsilon={planned.target_epsilon} is not used "
            f"with --task={task.name}, whose loss is no mean over examples (it "
            "compares them, or the model adds regularization); leave it out."
        )
    # Few examples need the most noise.
    planned.noise_multiplier(min(_listed(task).values()))
    return ExampleDp(
        task.loss_fn(), planned.clip, planned.batch_size, planned.key
    )


def publish_examples(
    planned: Optional[ExamplePlan], task: Task, directory: RunDirectory
) -> None:
    """Keeps the secret of a plan, if there is one, and says what it promises.

    Raises:
      RunDirectoryError: If these cannot be written.
    """
    if planned is not None:
        example_plan.publish(planned, directory, _listed(task))


def _listed(task: Task) -> dict[str, int]:
    """Sizes of the clients that the statement lists, by name."""
    ids = task.train.client_ids[: example_plan.MOST_LISTED]
    return {client_id: task.train.size(client_id) for client_id in ids}


def _publish(
    planned: Plan, directory: RunDirectory, rounds: int, state: Any
) -> None:
    """Writes the privacy statement of so many rounds."""
    audit = None
    if planned.num_canaries:
        audit = canaries.audit(planned, state.aggregator["released"])
    _state(planned, directory, rounds, audit)


def _state(
    planned: Plan,
    directory: RunDirectory,
    rounds: int,
    audit: Optional[dict[str, Any]] = None,
) -> None:
    statement.write(
        directory.privacy_json,
        directory.privacy_text,
        statement.content(planned, rounds, audit),
    )
