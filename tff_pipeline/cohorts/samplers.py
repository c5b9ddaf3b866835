"""Samplers: they draw the clients that take part in each round.

The cohort of a round is a function of the seed and the round's number alone.
Differential privacy may require that nobody knows who takes part; then the seed
is a secret.
"""

import abc
from collections.abc import Sequence
from typing import Optional

import numpy as np

from tff_pipeline import errors, randomness


class Sampler(abc.ABC):
    """Draws the cohort of each round from a population of clients."""

    def __init__(self, client_ids: Sequence[str], size: int, seed: int):
        """Makes the sampler.

        Args:
          client_ids: The population.
          size: Clients a round.
          seed: The experiment's seed, or a secret.

        Raises:
          ConfigError: If the cohort is larger than the population.
        """
        if size > len(client_ids):
            raise errors.ConfigError(
                f"--clients_per_round={size} is more than the "
                f"{len(client_ids)} clients there are; lower it to at most "
                f"{len(client_ids)}."
            )
        self._client_ids = client_ids
        self._size = size
        self._seed = seed

    @abc.abstractmethod
    def positions(self, round_number: int) -> list[int]:
        """Draws the positions of a round's clients in the population.

        Args:
          round_number: The number of the round, 1 or above.

        Returns:
          Positions from 0 in `client_ids`, each at most once.
        """

    def cohort(self, round_number: int) -> list[str]:
        """Draws the ids of a round's clients.

        Args:
          round_number: The number of the round, 1 or above.
        """
        return self.ids(self.positions(round_number))

    def ids(self, positions: Sequence[int]) -> list[str]:
        """Returns the ids of the clients at some positions.

        Args:
          positions: Positions from 0 in `client_ids`.

        Returns:
          The ids, in the order of `positions`.
        """
        return [self._client_ids[i] for i in positions]

    def _draw(self, *counters: int) -> np.random.Generator:
        return randomness.generator(self._seed, "cohort", *counters)


class UniformSampler(Sampler):
    """Draws `size` clients in every round, all sets of them equally likely.

    >>> sampler = UniformSampler(["a", "b", "c", "d", "e"], size=2, seed=0)
    >>> [sampler.cohort(round_number) for round_number in (1, 2, 3)]
    [['c', 'b'], ['a', 'b'], ['b', 'c']]
    """

    def positions(self, round_number: int) -> list[int]:
        chosen = self._draw(round_number).choice(
            len(self._client_ids), size=self._size, replace=False
        )
        return chosen.tolist()


class EverySampler(Sampler):
    """Takes every client in every round, in their order.

    >>> EverySampler(["a", "b", "c"], size=3, seed=0).cohort(1)
    ['a', 'b', 'c']
    """

    def positions(self, round_number: int) -> list[int]:
        return list(range(self._size))


class PoissonSampler(Sampler):
    """Draws every client independently with probability size / population.

    A cohort has `size` clients on average; it may have none.

    >>> sampler = PoissonSampler(["a", "b", "c", "d", "e"], size=2, seed=0)
    >>> [sampler.cohort(round_number) for round_number in (1, 2, 3)]
    [['a', 'e'], ['a', 'd'], ['b', 'e']]
    """

    def positions(self, round_number: int) -> list[int]:
        population = len(self._client_ids)
        numbers = self._draw(round_number).random(population)
        return np.flatnonzero(numbers < self._size / population).tolist()


class ShuffledSampler(Sampler):
    """Takes every client once an epoch, in a new random order each epoch.

    The last cohort of an epoch has the clients that are left, at most `size`.

    >>> sampler = ShuffledSampler(["a", "b", "c", "d", "e"], size=2, seed=0)
    >>> [sampler.cohort(round_number) for round_number in (1, 2, 3)]
    [['a', 'b'], ['c', 'e'], ['d']]
    """

    def positions(self, round_number: int) -> list[int]:
        population = len(self._client_ids)
        rounds = -(-population // self._size)
        epoch, place = divmod(round_number - 1, rounds)
        order = self._draw(epoch).permutation(population)
        start = place * self._size
        return order[start : start + self._size].tolist()


class SeparatedSampler(Sampler):
    """Draws no client twice within `min_separation` consecutive rounds.

    The population is split once, at random, into `min_separation` groups.
    Cohorts are uniform samples from the groups in turn.

    Attributes:
      min_separation: The least number of rounds from one participation of a
        client to its next.

    >>> sampler = SeparatedSampler(["a", "b", "c", "d", "e"], size=2, seed=0)
    >>> sampler.min_separation
    2
    >>> [sampler.cohort(round_number) for round_number in (1, 2, 3)]
    [['d', 'b'], ['e', 'c'], ['b', 'd']]
    """

    def __init__(
        self,
        client_ids: Sequence[str],
        size: int,
        seed: int,
        min_separation: Optional[int] = None,
    ):
        """Makes the sampler.

        Args:
          client_ids: The population.
          size: Clients a round.
          seed: The experiment's seed, or a secret.
          min_separation: The least number of rounds from one participation
            to the next; by default population // size, the largest possible.

        Raises:
          ConfigError: If the population is smaller than
            `min_separation` x `size`.
        """
        super().__init__(client_ids, size, seed)
        self.min_separation = min_separation or len(client_ids) // size
        if self.min_separation * size > len(client_ids):
            raise errors.ConfigError(
                f"--min_separation={min_separation} needs as many times "
                f"--clients_per_round={size}, {self.min_separation * size} "
                f"clients, and there are {len(client_ids)}; lower one of them."
            )
        order = self._draw().permutation(len(client_ids))
        self._groups = np.array_split(order, self.min_separation)

    def positions(self, round_number: int) -> list[int]:
        group = self._groups[(round_number - 1) % self.min_separation]
        draw = self._draw(round_number)
        return draw.choice(group, size=self._size, replace=False).tolist()
