"""The cohort of a round: who takes part, with which examples in which order."""

from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import tensorflow_federated as tff

from tff_pipeline import errors, randomness, registry
from tff_pipeline.client_work.block import client_block
from tff_pipeline.cohorts.read_ahead import Cohort
from tff_pipeline.cohorts.samplers import Sampler
from tff_pipeline.config import ClientConfig, ExperimentConfig
from tff_pipeline.datasets.federation import augmentation
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.privacy import canaries
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.privacy.plan import Plan
from tff_pipeline.tasks.task import Task


def reader(
    config: ExperimentConfig,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    plan: Optional[Plan] = None,
    examples_plan: Optional[ExamplePlan] = None,
) -> Callable[[int], Cohort]:
    """A function from a round's number to its cohort, of the seed alone.

    Args:
      config: The experiment.
      task: Its data.
      weights: The model's, for their sizes.
      plan: Of privacy; then cohorts are drawn from its secret, and it may have
        canaries, who stand behind the clients.
      examples_plan: Of examples' privacy; then blocks say how much noise.

    Raises:
      ConfigError: If `--augment` does not suit the task, or there are fewer
        clients than `--clients_per_round`.
    """
    seed = config.run.seed
    augment = augmentation.of(config.data.augment, task.augmentations)
    sampler = sampler_of(config, task, plan)
    clients = len(task.train.client_ids)
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
            block = client_block(
                examples,
                _epochs(config.clients, len(examples)),
                seed,
                round_number,
                position,
                noise_multiplier=None
                if examples_plan is None
                else examples_plan.noise_multiplier(len(examples)),
            )
        except MemoryError:
            raise errors.TrainingError(
                f"Memory ran out in round {round_number} while reading client "
                f"{client_id}; lower --max_examples_per_client or "
                "--clients_per_round. The last checkpoint stands."
            ) from None
        return block, len(examples)

    def canary(number: int) -> tuple[Any, int]:
        # It trains on something, but sends a direction of its own.
        some = task.train.load(task.train.client_ids[0])
        block = client_block(
            Examples(some.x[:1], some.y[:1]),
            _epochs(config.clients, 1),
            seed,
            key=canaries.key_of(number),
        )
        return block, 0

    def cohort_of(round_number: int) -> Cohort:
        positions = sampler.positions(round_number)
        cohort = [
            read(position, round_number)
            if position < clients
            else canary(position - clients)
            for position in positions
        ]
        return Cohort(
            sampler.ids(positions),
            [data for data, _ in cohort],
            sum(size for _, size in cohort),
            up + fixed,
            up,
        )

    return cohort_of


def sampler_of(
    config: ExperimentConfig, task: Task, plan: Optional[Plan]
) -> Sampler:
    """Who takes part in which round; see `reader`."""
    assert config.clients.sampling is not None  # `ExperimentConfig` does.
    ids, seed = task.train.client_ids, config.run.seed
    if plan is not None:
        seed = plan.cohort_seed
        if plan.num_canaries:
            names = [f"canary {i + 1}" for i in range(plan.num_canaries)]
            ids = [*ids, *names]
    options = {}
    if config.clients.sampling == "min_separation":
        options["min_separation"] = config.clients.min_separation
    sampler = registry.load(config.clients.sampling, registry.SAMPLERS)
    return sampler(ids, config.clients.clients_per_round, seed, **options)


def _epochs(clients: ClientConfig, examples: int) -> int:
    """How often a client goes over its examples, at most."""
    if clients.steps_per_round is None:
        return clients.epochs_per_round
    steps_an_epoch = -(-examples // clients.batch_size)
    return -(-clients.steps_per_round // steps_an_epoch)
