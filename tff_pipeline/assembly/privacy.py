"""Makes the privacy plans of a run, and what they contribute to it."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.client_work import example_dp
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.client_work.hooks import ClientHook
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

_LOOKED_AT = 10  # Test examples whose loss is looked at.


@dataclasses.dataclass(frozen=True)
class Protection:
    """Whom a run protects, and by which plans; without plans it is nobody.

    Attributes:
      clients: The plan that protects whole clients.
      examples: The plan that protects single examples of clients.
      example_hook: The steps of DP-SGD, with `examples`.
    """

    clients: Optional[Plan] = None
    examples: Optional[ExamplePlan] = None
    example_hook: Optional[ExampleDp] = None

    @property
    def hooks(self) -> Sequence[ClientHook]:
        """What clients do for it, in order."""
        hooks: list[ClientHook] = []
        if self.example_hook is not None:
            hooks.append(self.example_hook)
        if self.clients is not None:
            hooks += mechanisms.client_hooks(self.clients)
        return hooks

    @property
    def exact_metrics(self) -> bool:
        """Whether exact figures of training may be written."""
        if self.examples is not None:
            return False
        if self.clients is None:
            return True
        return bool(self.clients.options.dp_release_exact_metrics)

    @property
    def cohort_key(self) -> bytes:
        """The key of the cohorts' hashes; empty where nothing is secret."""
        return b"" if self.clients is None else self.clients.cohort_key

    def begin(self, task: Task, directory: RunDirectory) -> Optional[Ledger]:
        """Keeps the secrets, and says what is promised.

        Args:
          task: Whose clients the statement counts.
          directory: The run's; it is claimed.

        Returns:
          The account of what is spent, where there is one.

        Raises:
          RunDirectoryError: If a file cannot be written.
        """
        if self.examples is not None:
            example_plan.publish(self.examples, directory, _listed(task))
        planned = self.clients
        if planned is None:
            return None
        if not planned.seeded:
            secret_file.keep(directory.noise_secret, planned.secret)
        if not storage.exists(directory.privacy_json):
            _state(planned, directory, 0)
        return Ledger(planned, functools.partial(_publish, planned, directory))


def protect(
    config: ExperimentConfig,
    task: Task,
    dimension: int,
    directory: RunDirectory,
    overwrite: bool,
) -> Protection:
    """Makes the plans of a run, with the secrets that it has.

    Args:
      config: The experiment.
      task: Its data and model.
      dimension: Numbers in a model delta.
      directory: Of the run, if it was begun.
      overwrite: Whether it begins anew.

    Raises:
      PipelineError: In a sentence, what the user should change.
    """
    examples = example_plan.for_run(config, directory, overwrite)
    return Protection(
        plan_of_clients(
            config,
            len(task.train.client_ids),
            dimension,
            directory,
            overwrite,
        ),
        examples,
        None if examples is None else _example_hook(examples, task),
    )


def plan_of_clients(
    config: ExperimentConfig,
    num_clients: int,
    dimension: int,
    directory: RunDirectory,
    overwrite: bool,
) -> Optional[Plan]:
    """Makes the plan that protects clients; `None` without one.

    Args:
      config: The experiment.
      num_clients: Clients there are, canaries not counted.
      dimension: Numbers in a model delta.
      directory: Of the run, if it was begun.
      overwrite: Whether it begins anew.

    Raises:
      PipelineError: In a sentence, what the user should change.
    """
    if not config.private:
        return None
    options = config.privacy
    secret = secret_file.secret_of_run(
        directory, options.dp_noise_seed, overwrite
    )
    population = num_clients + (options.audit_canaries or 0)
    return plan.make(config, population, dimension, secret)


def _example_hook(planned: ExamplePlan, task: Task) -> ExampleDp:
    """Makes the steps of DP-SGD.

    Raises:
      ConfigError: If the task's loss is no mean over examples, or no noise
        keeps the target for a client.
    """
    model = task.build_model()
    looked_at = task.test.take(np.arange(min(_LOOKED_AT, len(task.test))))
    if model.losses or not example_dp.learns_from_one(
        model, task.loss_fn(), looked_at.x, looked_at.y
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
