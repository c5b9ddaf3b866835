"""Reads the data of one client in one round, wherever they lie.

A block is a pure function of its reference, the experiment and the data, so
that any machine that has the data reads the same.
"""

import dataclasses
from typing import Any, Optional

from tff_pipeline import errors, randomness
from tff_pipeline.attacks import attack
from tff_pipeline.client_work.block import client_block, client_key
from tff_pipeline.cohorts import devices
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.optimizers import schedules
from tff_pipeline.privacy import canaries
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.runtime.values import Reference
from tff_pipeline.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class BlockReference(Reference):
    """Names a block.

    Attributes:
      position: The client's position in the population, in which canaries stand
        behind the clients.
      round_number: The number of the round, 1 or above.
      steps: The number of steps that the client takes; 0 for the number that
        the client's options set for all.
    """

    position: int
    round_number: int
    steps: int = 0


class BlockReader:
    """Reads the blocks of an experiment.

    Attributes:
      attack: What hostile clients do.
      attackers: The positions of the clients that attack.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        task: Task,
        examples_plan: Optional[ExamplePlan] = None,
    ):
        """Makes the reader.

        Args:
          config: The experiment.
          task: The task, whose `train` has the clients.
          examples_plan: The privacy plan that protects examples, if there is
            one. Blocks then hold the noise multiplier of the client's steps.
        """
        self._config, self._task, self._plan = config, task, examples_plan
        self._factors = None
        if config.devices.client_learning_rates is not None:
            self._factors = devices.learning_rate_factors(config, task.train)
        self.attack = attack.of_experiment(config, task)
        self.attackers = attack.attackers(
            config.attack, config.run.seed, task.train.client_ids
        )

    def read(self, reference: BlockReference) -> Any:
        """Reads a block.

        Args:
          reference: Its name.

        Returns:
          A list of one block, as `client_block` makes it.

        Raises:
          DataError: If the task refuses the client's examples.
          TrainingError: If memory runs out.
        """
        position, number = reference.position, reference.round_number
        clients = self._task.train.client_ids
        if position >= len(clients):
            return self._canary(position - len(clients))
        try:
            return self.of_client(position, number, reference.steps)
        except MemoryError:
            raise errors.TrainingError(
                f"Memory ran out in round {number} while reading client "
                f"{clients[position]}; lower --max_examples_per_client or "
                "--clients_per_round. The last checkpoint stands."
            ) from None

    def of_client(self, position: int, round_number: int, steps: int) -> Any:
        """Reads the block of a client, which is no canary.

        Args:
          position: The client's position in the population.
          round_number: The number of the round; 0 for none, with the learning
            rate of the first.
          steps: The number of steps, as `BlockReference` has it.
        """
        config, task, plan = self._config, self._task, self._plan
        client_id = task.train.client_ids[position]
        examples = task.train.load(client_id)
        task.check(examples, client_id)
        mark = None
        if position in self.attackers and self.attack.on_data is not None:
            draw = randomness.generator(
                config.run.seed, "attack", round_number, position
            )
            examples = self.attack.on_data(examples, draw)
        if self.attack.hook is not None:
            mark = int(position in self.attackers)
        noise = None
        if plan is not None:
            noise = plan.noise_multiplier(len(examples))
        rate = schedules.factor(config.clients.optimizer, max(round_number, 1))
        if self._factors is not None:
            rate *= self._factors[position]
        return client_block(
            examples,
            client_key(config.run.seed, round_number, position),
            round_number,
            rate,
            steps,
            noise_multiplier=noise,
            mark=mark,
        )

    def _canary(self, number: int) -> Any:
        """Makes a canary's block, of one example that it does not train on."""
        data = self._task.train.load(self._task.train.client_ids[0])
        return client_block(
            Examples(data.x[:1], data.y[:1]),
            canaries.key_of(number),
            mark=None if self.attack.hook is None else 0,
        )
