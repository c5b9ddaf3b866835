"""The weights that a saved round stands for, by the run's algorithm."""

from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import errors
from tff_pipeline.algorithms import algorithm
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm, runtime
from tff_pipeline.assembly.task import initial_weights, load_saved_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
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
    built = build_algorithm(config, task, Protection())
    kept = None
    if built.initial_kept_state is not None:
        kept = KeptStates(directory.checkpoints, built.initial_kept_state)
    with runtime(config.run):
        like = built.initial_state(initial_weights(task, config.run.seed))
        store = CheckpointStore(directory.checkpoints)
        saved = store.load_all(number, like, kept)
        if client is None:
            return built.model_weights(saved.state, saved.kept)
        source = CohortSource(config, task)
        return built.client_weights(
            saved.state,
            None if saved.kept is None else saved.kept.rows([client])[0],
            lambda: source.training_data(client),
        )
