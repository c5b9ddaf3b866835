"""Makes the privacy plans of a run, with their hooks and their account."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly.beginning import STORED
from tff_pipeline.assembly.task import evaluated_columns
from tff_pipeline.client_work import example_dp
from tff_pipeline.client_work.example_dp import ExampleDp
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.privacy import (
    canaries,
    example_plan,
    mechanisms,
    paper,
    plan,
    secret_file,
    statement,
)
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.privacy.ledger import Ledger
from tff_pipeline.privacy.plan import Plan
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metric_names import chosen_column
from tff_pipeline.tasks.task import Task

_CHECKED_EXAMPLES = 10  # Test examples whose loss is checked.
_MOST_COUNTED = 10_000  # Clients, whose sizes may have to be read one by one.


@dataclasses.dataclass(frozen=True)
class Protection:
    """Privacy plans of a run; without plans nobody is protected.

    Attributes:
      clients: The plan that protects whole clients, or `None`.
      examples: The plan that protects single examples of clients, or `None`.
      example_hook: The hook that takes the steps of DP-SGD; set exactly if
        `examples` is.
      uncovered: What of the run, such as choices on exact figures, is outside
        of the plans, a
        sentence each.
    """

    clients: Optional[Plan] = None
    examples: Optional[ExamplePlan] = None
    example_hook: Optional[ExampleDp] = None
    uncovered: Sequence[str] = ()

    @property
    def first_hooks(self) -> Sequence[ClientHook]:
        """Client hooks of the gradients, which an algorithm's hooks change."""
        return [] if self.example_hook is None else [self.example_hook]

    @property
    def hooks(self) -> Sequence[ClientHook]:
        """Client hooks of the messages, which come last, in order."""
        if self.clients is None:
            return []
        return mechanisms.client_hooks(self.clients)

    @property
    def exact_metrics(self) -> bool:
        """True if metrics without noise may be written for training clients."""
        if self.examples is not None:
            return False
        if self.clients is None:
            return True
        return bool(self.clients.options.dp_release_exact_metrics)

    @property
    def cohort_key(self) -> bytes:
        """Key of the log's hashes of cohorts; empty if cohorts are public."""
        return b"" if self.clients is None else self.clients.cohort_key

    def begin(self, task: Task, directory: RunDirectory) -> Optional[Ledger]:
        """Saves the secret of the run, and writes the privacy statements.

        Args:
          task: The task, whose clients the statements count.
          directory: The run's directory, already claimed.

        Returns:
          The account of what is spent, if a plan protects clients.

        Raises:
          RunDirectoryError: If a file cannot be written.
        """
        if self.examples is not None:
            example_plan.publish(
                self.examples, directory, _listed(task), self.uncovered
            )
        planned = self.clients
        if planned is None:
            return None
        if not planned.seeded:
            secret_file.keep(directory.noise_secret, planned.secret)
        if not storage.exists(directory.privacy_json):
            _state(planned, directory, 0, self.uncovered)
        return Ledger(
            planned,
            functools.partial(_publish, planned, directory, self.uncovered),
        )


def protect(
    config: ExperimentConfig,
    task: Task,
    dimension: int,
    directory: RunDirectory,
    overwrite: bool,
) -> Protection:
    """Makes the privacy plans of a run.

    A run that is resumed keeps its secrets.

    Args:
      config: The experiment.
      task: The experiment's data and model.
      dimension: The number of trainable numbers of the model.
      directory: The run's directory, which need not exist yet.
      overwrite: Whether the run starts anew, with new secrets.

    Raises:
      ConfigError: If no plan meets the settings.
      RunDirectoryError: If a secret of the run cannot be read.
    """
    examples = example_plan.for_run(
        config, directory, overwrite, _num_examples(task)
    )
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
        _uncovered(config, task),
    )


def _uncovered(config: ExperimentConfig, task: Task) -> list[str]:
    """Says what of a run no plan covers: what it begins with, and looks at."""
    said = []
    if task.base is not None:
        said.append(
            f"Base: the pretrained weights ({task.base.source}, SHA-256 "
            f"{task.base.weights.sha256}) were made elsewhere, from data that "
            "epsilon says nothing of. What it covers is what this run trains: "
            f"--trainable={config.data.model.trainable}."
        )
    if task.initial_values:
        said.append(
            f"Beginning: the weights of {config.data.model.init_from} (SHA-256 "
            f"{task.begins_with[STORED]}) were trained before, on data that "
            "epsilon says nothing of; where they are of the same clients, what "
            "was learned of them then is not covered."
        )
    if task.validation is not None:
        whose = {
            "examples": "which training clients hold",
            "clients": "which clients that do not train hold",
            None: "which the data name",
        }[config.data.validation_by]
        said.append(
            "Validation: the columns validation_ of metrics.csv, and what "
            "evaluate.py writes of that set, are exact figures of its "
            f"examples, {whose}."
        )
    if algorithm.chosen(config).personal:
        said.append(
            "Own models: the columns seen_ of metrics.csv, and what "
            "evaluate.py writes of clients, are exact figures of the models "
            "that clients make of their own examples; epsilon says nothing of "
            "what they tell."
        )
    chosen = chosen_column(config.run.target_metric, evaluated_columns(task))
    if chosen is not None:
        said.append(
            "Choosing the round: --target_metric, --target_value and "
            f"--patience look at {chosen}, exact figures, so that the round "
            "that is taken and the number of rounds tell more of these "
            "examples than epsilon says."
        )
    return said


def plan_of_clients(
    config: ExperimentConfig,
    num_clients: int,
    dimension: int,
    directory: RunDirectory,
    overwrite: bool,
) -> Optional[Plan]:
    """Makes the plan that protects clients; `None` if the config has none.

    Args:
      config: The experiment.
      num_clients: The number of clients, without canaries.
      dimension: The number of trainable numbers of the model.
      directory: The run's directory, which need not exist yet.
      overwrite: Whether the run starts anew, with a new secret.

    Raises:
      ConfigError: If no plan meets the settings.
      RunDirectoryError: If the secret of the run cannot be read.
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
    """Makes the hook that takes the steps of DP-SGD.

    Raises:
      ConfigError: If the task's loss is not a mean over examples, or no noise
        meets the target epsilon for some client.
    """
    model = task.build_model()
    count = min(_CHECKED_EXAMPLES, len(task.test))
    examples = task.test.take(np.arange(count))
    if model.losses or not example_dp.learns_from_one(
        model, task.clients_loss(), examples.x, examples.y
    ):
        raise errors.ConfigError(
            f"--client_dp_target_epsilon={planned.target_epsilon} is not used "
            f"with --task={task.name}, whose loss is no mean over examples (it "
            "compares them, or the model adds regularization); leave it out."
        )
    # The client with the fewest examples needs the most noise.
    planned.noise_multiplier(min(_listed(task).values()))
    return ExampleDp(
        task.clients_loss(), planned.clip, planned.batch_size, planned.key
    )


def _num_examples(task: Task) -> int:
    """Counts the clients' examples, or fewer where that takes long."""
    ids = task.train.client_ids
    counted = list(itertools.islice(ids, _MOST_COUNTED))
    # Each of the others has one or more.
    return sum(map(task.train.size, counted)) + len(ids) - len(counted)


def _listed(task: Task) -> dict[str, int]:
    """Numbers of examples of the clients that the statement lists, by id."""
    ids = task.train.client_ids[: example_plan.MOST_LISTED]
    return {client_id: task.train.size(client_id) for client_id in ids}


def _publish(
    planned: Plan,
    directory: RunDirectory,
    uncovered: Sequence[str],
    rounds: int,
    state: Any,
) -> None:
    """Writes the privacy statement after `rounds` rounds."""
    audit = None
    if planned.num_canaries:
        audit = canaries.audit(planned, state.aggregator["released"])
    _state(planned, directory, rounds, uncovered, audit)


def _state(
    planned: Plan,
    directory: RunDirectory,
    rounds: int,
    uncovered: Sequence[str],
    audit: Optional[dict[str, Any]] = None,
) -> None:
    statement.write(
        directory.privacy_json,
        directory.privacy_text,
        statement.content(
            planned, rounds, audit, paper.head(directory), uncovered
        ),
    )
