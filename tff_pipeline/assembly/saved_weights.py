"""The weights that a saved round stands for, by the run's algorithm."""

from typing import Optional

import tensorflow_federated as tff

from tff_pipeline import errors, registry
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm, runtime
from tff_pipeline.assembly.task import initial_weights, load_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.checkpoint import CheckpointName, CheckpointStore
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
      PipelineError: As `load`.
    """
    config = directory.read_config()
    made = registry.load(config.algorithm.name, registry.ALGORITHMS)
    if made.model_in_state:
        store = CheckpointStore(directory.checkpoints)
        return store.load_weights(round_number)[1]
    return load(config, load_task(config), directory, round_number)[1]


def load(
    config: ExperimentConfig,
    task: Task,
    directory: RunDirectory,
    round_number: Optional[CheckpointName] = None,
    client: Optional[str] = None,
) -> tuple[int, tff.learning.models.ModelWeights]:
    """Loads the weights of a saved round, of all clients or of one.

    Args:
      config: The experiment of the run.
      task: Its task.
      directory: The run directory.
      round_number: The checkpoint's round, or "best"; by default the last.
      client: The id of a client, for the weights that are its own; by default
        those that are evaluated centrally and exported.

    Returns:
      (the round's number, all weights that travel or stay on clients).

    Raises:
      ConfigError: If that round was not saved, or there is no such client, or
        its algorithm gives clients no weights of their own.
      DataError: If the data of the client are missing or damaged.
      RunDirectoryError: If nothing was saved, or that round is damaged.
    """
    store = CheckpointStore(directory.checkpoints)
    number, weights = store.load_weights(round_number)
    made = registry.load(config.algorithm.name, registry.ALGORITHMS)
    if client is None and made.model_in_state:
        return number, weights
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
        saved = store.load_all(number, like, kept)
        if client is None:
            return number, built.model_weights(saved.state, saved.kept)
        source = CohortSource(config, task)
        return number, built.client_weights(
            saved.state,
            None if saved.kept is None else saved.kept.rows([client])[0],
            lambda: source.training_data(client),
        )
