"""The cohort of a round: who takes part, with which examples in which order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tff_pipeline import errors, randomness
from tff_pipeline.algorithms import client_work
from tff_pipeline.config import ClientConfig, ExperimentConfig
from tff_pipeline.datasets import augmentation
from tff_pipeline.sampling import UniformSampler
from tff_pipeline.tasks.task import Task
from tff_pipeline.training.loop import Cohort


def reader(
    config: ExperimentConfig,
    task: Task,
    weights: tff.learning.models.ModelWeights,
) -> Callable[[int], Cohort]:
    """A function from a round's number to its cohort, of the seed alone.

    Args:
      config: The experiment.
      task: Its data.
      weights: The model's, for their sizes.

    Raises:
      ConfigError: If `--augment` does not suit the task, or there are fewer
        clients than `--clients_per_round`.
    """
    seed = config.run.seed
    augment = augmentation.of(config.data.augment, task.augmentations)
    sampler = UniformSampler(
        task.train.client_ids, config.clients.clients_per_round, seed
    )
    up = sum(np.asarray(value).nbytes for value in weights.trainable)
    fixed = sum(np.asarray(value).nbytes for value in weights.non_trainable)

    def read(position: int, round_number: int) -> tuple[Any, int]:
        client_id = task.train.client_ids[position]
        try:
            examples = task.train.load(client_id)
            task.check(examples, client_id)
            if config.data.augment is not None:
                examples = augment(
                    examples,
                    randomness.generator(
                        seed, "augment", round_number, position
                    ),
                )
            block = client_work.block(
                examples,
                _epochs(config.clients, len(examples)),
                seed,
                round_number,
                position,
            )
        except MemoryError:
            raise errors.TrainingError(
                f"Memory ran out in round {round_number} while reading client "
                f"{client_id}; lower --max_examples_per_client or "
                "--clients_per_round. The last checkpoint stands."
            ) from None
        return block, len(examples)

    def cohort_of(round_number: int) -> Cohort:
        clients = [
            read(position, round_number)
            for position in sampler.positions(round_number)
        ]
        datasets, sizes = zip(*clients)
        return Cohort(datasets, sum(sizes), up + fixed, up)

    return cohort_of


def _epochs(clients: ClientConfig, examples: int) -> int:
    """How often a client goes over its examples, at most."""
    if clients.steps_per_round is None:
        return clients.epochs_per_round
    steps_an_epoch = -(-examples // clients.batch_size)
    return -(-clients.steps_per_round // steps_an_epoch)
