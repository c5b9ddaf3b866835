"""Which clients take part in a round.

The cohort of a round is a function of the seed and the round's number alone.
With differential privacy, where who takes part must be known to nobody, the
seed is a secret.
"""

import abc
from collections.abc import Sequence
from typing import Optional

import numpy as np

from tff_pipeline import errors, randomness


class Sampler(abc.ABC):
    """Draws cohorts."""

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
        """Where the clients of a round, 1 or above, stand in the population."""

    def cohort(self, round_number: int) -> list[str]:
        """The ids of the clients of round `round_number`."""
        return self.ids(self.positions(round_number))

    def ids(self, positions: Sequence[int]) -> list[str]:
        """Of the clients that stand there."""
        return [self._client_ids[i] for i in positions]

    def _draw(self, *counters: int) -> np.random.Generator:
        return randomness.generator(self._seed, "cohort", *counters)


class UniformSampler(Sampler):
    """As many in every round, each set of them as likely as any other."""

    def positions(self, round_number: int) -> list[int]:
        chosen = self._draw(round_number).choice(
            len(self._client_ids), size=self._size, replace=False
        )
        return chosen.tolist()


class PoissonSampler(Sampler):
    """Every client on its own with the same probability: maybe none.

    That is size / population, so that as many as `size` are expected.
    """

    def positions(self, round_number: int) -> list[int]:
        population = len(self._client_ids)
        numbers = self._draw(round_number).random(population)
        return np.flatnonzero(numbers < self._size / population).tolist()


class ShuffledSampler(Sampler):
    """Everyone once an epoch, in an order that is drawn for each epoch.

    The last cohort of an epoch has those who are left.
    """

    def positions(self, round_number: int) -> list[int]:
        population = len(self._client_ids)
        rounds = -(-population // self._size)
        epoch, place = divmod(round_number - 1, rounds)
        order = self._draw(epoch).permutation(population)
        start = place * self._size
        return order[start : start + self._size].tolist()


class SeparatedSampler(Sampler):
    """Nobody again within some rounds.

    The population is split at random, once, into as many groups as there are
    rounds from one participation to the next; cohorts are uniform samples of
    the groups in turn.
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
          min_separation: Rounds from one participation to the next, at least;
            by default as many as there can be.

        Raises:
          ConfigError: If there are too few clients for cohorts of that size.
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
