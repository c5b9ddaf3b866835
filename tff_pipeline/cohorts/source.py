"""Reads the cohort of a round: its clients with their data and keys."""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.algorithms import algorithm
from tff_pipeline.attacks import in_words
from tff_pipeline.attacks.attack import Attack
from tff_pipeline.attacks.in_words import ATTACKERS
from tff_pipeline.cohorts import device_rounds
from tff_pipeline.cohorts.blocks import BlockReader, BlockReference
from tff_pipeline.cohorts.device_rounds import DeviceRounds
from tff_pipeline.cohorts.devices import Devices
from tff_pipeline.cohorts.read_ahead import Cohort
from tff_pipeline.cohorts.samplers import EverySampler, Sampler
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.privacy.plan import Plan
from tff_pipeline.tasks.task import Task


class CohortSource:
    """Reads cohorts: pure functions of the seed and the round number.

    Attributes:
      devices: The devices of the clients; `None` if there are none.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        task: Task,
        plan: Optional[Plan] = None,
        examples_plan: Optional[ExamplePlan] = None,
        by_reference: bool = False,
    ):
        """Makes the source.

        Args:
          config: The experiment.
          task: The task, whose `train` has the clients.
          plan: The privacy plan that protects clients, if there is one. Its
            secret is then the seed of cohorts, and its canaries join the
            population, after the clients.
          examples_plan: The privacy plan that protects examples, if there is
            one. Blocks then hold the noise multiplier of the client's steps.
          by_reference: True if cohorts have a `BlockReference` in place of each
            block, for machines that read the data themselves.

        Raises:
          ConfigError: If there are fewer clients than are chosen in a round.
          DataError: If a file that describes devices is not as it must be.
        """
        self._config = config
        self._task = task
        self._blocks = BlockReader(config, task, examples_plan)
        self._by_reference = by_reference
        self._sampler = sampler_of(config, task, plan)
        self.devices: Optional[Devices] = None
        if config.devices.simulated:
            self.devices = Devices(config, task.train)
        self._traffic = (0, 0)
        self._reads_late = False
        self._rounds = self._simulation()

    def _simulation(self) -> Optional[DeviceRounds]:
        if self.devices is None:
            return None
        return DeviceRounds(self._config, self._sampler, self.devices)

    def with_traffic(self, bytes_down: int, bytes_up: int) -> "CohortSource":
        """Returns the source for an algorithm that moves so many bytes.

        Args:
          bytes_down: The bytes that one client receives in a round.
          bytes_up: The bytes that it sends.
        """
        if self.devices is None:
            return self
        source = copy.copy(self)
        source.devices = self.devices.with_traffic(bytes_down, bytes_up)
        source._traffic = (bytes_down, bytes_up)
        source._rounds = source._simulation()
        return source

    def with_late(self) -> "CohortSource":
        """Returns a source that reads clients too that were late in a round."""
        source = copy.copy(self)
        source._reads_late = True
        return source

    @property
    def attack(self) -> Attack:
        """What hostile clients do."""
        return self._blocks.attack

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that devices and attackers add, in order."""
        of_devices = () if self.devices is None else device_rounds.COLUMNS
        return (*of_devices, *([ATTACKERS] if self._blocks.attackers else []))

    @property
    def notes(self) -> Sequence[str]:
        """Lines about hostile clients that a run prints at its start."""
        config = self._config
        if config.attack.name is None:
            return ()
        line = in_words.before(
            config.attack.name,
            len(self._blocks.attackers),
            len(self._task.train),
            config.clients.clients_per_round,
            config.aggregation.byzantine_clients,
        )
        return (f"{line} {self.attack.note}".strip(),)

    def positions(self, round_number: int) -> Sequence[int]:
        """Returns the positions of the clients that count in a round.

        Args:
          round_number: The number of the round, 1 or above.

        Returns:
          Positions from 0 in the population, in which canaries stand behind
          the clients.
        """
        if self._rounds is None:
            return self._sampler.positions(round_number)
        return self._rounds.round(round_number).positions

    def never_seen(self, rounds: int) -> Sequence[str]:
        """Lists the clients that counted in no round; none without devices.

        Of an algorithm that chooses cohorts itself it is not known.

        Args:
          rounds: The number of rounds that were trained.
        """
        chooses = algorithm.chosen(self._config).chooses_cohorts
        if self._rounds is None or not rounds or chooses:
            return []
        ids = self._task.train.client_ids
        positions = self._rounds.never_seen(rounds, len(ids))
        return [ids[position] for position in positions]

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        """Position of each client among those that train, by id."""
        ids = self._task.train.client_ids
        return {client_id: position for position, client_id in enumerate(ids)}

    def cohort(
        self, round_number: int, client_ids: Optional[Sequence[str]] = None
    ) -> Cohort:
        """Reads the cohort of a round.

        Args:
          round_number: The number of the round, 1 or above.
          client_ids: The ids of the clients that take part; by default the
            sampler draws them, and devices say who of them comes. Whoever
            chooses clients asks `devices` for itself.

        Returns:
          The clients' ids with one block each, as `client_block` makes them,
          or one `BlockReference`.

        Raises:
          DataError: If the task refuses a client's examples.
          TrainingError: If memory runs out.
        """
        figures: Mapping[str, float] = {}
        steps: Sequence[int] = ()
        late: Mapping[int, int] = {}
        if client_ids is not None:
            positions = [self._positions[each] for each in client_ids]
        elif self._rounds is not None:
            happened = self._rounds.round(round_number)
            positions, steps = list(happened.positions), happened.steps
            figures = happened.figures(*self._traffic)
            if self._reads_late:
                late = happened.late
        else:
            positions = self._sampler.positions(round_number)
        references = [
            BlockReference(position, round_number, number)
            for position, number in zip(
                positions, steps or [0] * len(positions)
            )
        ]
        late_references = [
            BlockReference(position, round_number, number)
            for position, number in late.items()
        ]
        if client_ids is None:
            client_ids = self._sampler.ids(positions)
        if self._blocks.attackers:
            hostile = len(self._blocks.attackers.intersection(positions))
            figures = {**figures, ATTACKERS: hostile}
        return Cohort(
            client_ids,
            self._data(references),
            figures,
            self._sampler.ids(list(late)),
            self._data(late_references),
        )

    def _data(self, references: Sequence[BlockReference]) -> Sequence[Any]:
        """Reads blocks, unless other machines do."""
        if self._by_reference:
            return references
        return list(map(self._blocks.read, references))

    def training_data(self, client_id: str) -> Any:
        """Reads the data that a client trains on, for its own model.

        Args:
          client_id: The client.

        Returns:
          One block, as that of a round; its key is that of no round, and its
          learning rate the client's in the first.

        Raises:
          DataError: If the task refuses the client's examples.
        """
        return self._blocks.of_client(self._positions[client_id], 0, 0)


def sampler_of(
    config: ExperimentConfig, task: Task, plan: Optional[Plan]
) -> Sampler:
    """Makes the sampler that `--sampling` names.

    Args:
      config: The experiment.
      task: The task, whose `train` has the population.
      plan: The privacy plan that protects clients, if there is one. Its secret
        then replaces the experiment's seed, and its canaries join the
        population, after the clients.

    Raises:
      ConfigError: If there are fewer clients than `--clients_per_round` and
        `--over_selection` ask for, or too few for `--min_separation`.
    """
    assert config.clients.sampling is not None  # `ExperimentConfig` does.
    ids, seed = task.train.client_ids, config.run.seed
    if plan is not None:
        seed = plan.cohort_seed
        if plan.num_canaries:
            names = [f"canary {i + 1}" for i in range(plan.num_canaries)]
            ids = [*ids, *names]
    if algorithm.chosen(config).takes_everyone:
        return EverySampler(ids, len(ids), seed)
    options = {}
    if config.clients.sampling == "min_separation":
        options["min_separation"] = config.clients.min_separation
    sampler = registry.load(config.clients.sampling, registry.SAMPLERS)
    size = config.clients.clients_per_round
    chosen = config.devices.chosen(size)
    if size <= len(ids) < chosen:
        raise errors.ConfigError(
            f"--over_selection={config.devices.over_selection} chooses "
            f"{chosen} clients for --clients_per_round={size}, more than the "
            f"{len(ids)} there are; lower one of the two."
        )
    return sampler(ids, chosen, seed, **options)
