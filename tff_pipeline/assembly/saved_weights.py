"""The weights that a saved round stands for, by the run's algorithm."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.algorithms import algorithm
from tff_pipeline.algorithms.algorithm import Algorithm
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm
from tff_pipeline.assembly.runtimes import runtime
from tff_pipeline.assembly.task import initial_weights, load_saved_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.evaluation import over_clients
from tff_pipeline.evaluation.over_clients import WeightsOf
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.tasks.task import Task


def exported(
    directory: RunDirectory, round_number: int
) -> tff.learning.models.ModelWeights:
    """Loads the weights that a run exports of a saved round.

    The run's data are read only if its algorithm has no model at the server.

    Args:
      directory: The run directory.
      round_number: The round.

    Raises:
      PipelineError: As `by_algorithm`, or if that round was not saved.
    """
    config = directory.read_config()
    store = CheckpointStore(directory.checkpoints)
    number, weights = store.load_weights(round_number)
    if algorithm.chosen(config).model_in_state:
        return weights
    task = load_saved_task(config, directory)
    return by_algorithm(config, task, directory, number, weights)


def by_algorithm(
    config: ExperimentConfig,
    task: Task,
    directory: RunDirectory,
    number: int,
    in_state: tff.learning.models.ModelWeights,
    client: Optional[str] = None,
) -> tff.learning.models.ModelWeights:
    """Returns the weights that a saved round stands for, by its algorithm.

    Args:
      config: The experiment of the run.
      task: Its task.
      directory: The run directory.
      number: The round of the checkpoint.
      in_state: The weights in the server's state, as `load_weights` of the
        store returns them.
      client: The id of a client, for the weights that are its own; by default
        those that are evaluated centrally and exported.

    Returns:
      All weights that travel or stay on clients.

    Raises:
      ConfigError: If there is no such client, or the algorithm gives clients no
        weights of their own.
      DataError: If the data of the client are missing or damaged.
      RunDirectoryError: If the checkpoint is damaged.
    """
    made = algorithm.chosen(config)
    if client is None and made.model_in_state:
        return in_state
    if client is not None:
        if not made.personal:
            raise errors.ConfigError(
                f"--client={client} is for runs whose clients have models of "
                f"their own, and this one is of --algorithm="
                f"{config.algorithm.name}; leave it out."
            )
        if client not in task.train.client_ids:
            raise errors.ConfigError(
                f"--client={client} is none of the {len(task.train)} clients "
                "that train; name one of them."
            )
    with runtime(config):
        saved = restored(config, task, directory, number)
        return saved.weights if client is None else saved.own_weights(client)


@contextlib.contextmanager
def with_own(
    config: ExperimentConfig,
    task: Task,
    directory: RunDirectory,
    number: int,
    in_state: tff.learning.models.ModelWeights,
) -> Iterator[tuple[tff.learning.models.ModelWeights, Optional[WeightsOf]]]:
    """Opens the weights of a saved round, those that are clients' own too.

    Args:
      config: The experiment of the run.
      task: Its task.
      directory: The run directory.
      number: The round of the checkpoint.
      in_state: The weights in the server's state.

    Yields:
      (the weights that are evaluated centrally and exported, a function from
      the id of a client that trains to its own weights, which can be called
      until the end of the context; `None` where clients have none).

    Raises:
      DataError: If the data of a client are missing or damaged.
      RunDirectoryError: If the checkpoint is damaged.
    """
    if not algorithm.chosen(config).personal:
        yield by_algorithm(config, task, directory, number, in_state), None
        return
    with runtime(config):
        saved = restored(config, task, directory, number)
        yield saved.weights, saved.own_weights


@dataclasses.dataclass(frozen=True)
class Restored:
    """The saved round of a run, with the algorithm that it is of.

    Attributes:
      algorithm: The algorithm.
      state: The server's state.
      kept: The kept states of all clients; `None` if they keep nothing.
      own_weights: The weights of a client, by its id, where clients have such.
    """

    algorithm: Algorithm
    state: Any
    kept: Optional[KeptStates]
    own_weights: WeightsOf

    @property
    def weights(self) -> tff.learning.models.ModelWeights:
        """The weights that are evaluated centrally and exported."""
        return self.algorithm.model_weights(self.state, self.kept)


def restored(
    config: ExperimentConfig, task: Task, directory: RunDirectory, number: int
) -> Restored:
    """Builds the algorithm of a run, and loads all of a saved round.

    It must be called, and what it returns be used, inside the runtime of the
    run.

    Args:
      config: The experiment of the run.
      task: Its task.
      directory: The run directory.
      number: The round of the checkpoint.

    Raises:
      RunDirectoryError: If the checkpoint is damaged.
    """
    built = build_algorithm(config, task, Protection())
    kept = None
    if built.initial_kept_state is not None:
        kept = KeptStates(directory.checkpoints, built.initial_kept_state)
    like = built.initial_state(initial_weights(task, config.run.seed))
    saved = CheckpointStore(directory.checkpoints).load_all(number, like, kept)
    return Restored(
        built,
        saved.state,
        saved.kept,
        over_clients.own_weights(
            built,
            saved.state,
            saved.kept,
            CohortSource(config, task).training_data,
        ),
    )
