"""Which clients take part in a round."""

from collections.abc import Sequence

from tff_pipeline import errors, randomness


class UniformSampler:
    """A cohort of fixed size, uniform without replacement, for every round.

    The cohort of round r is a function of (seed, r) and nothing else.
    """

    def __init__(self, client_ids: Sequence[str], size: int, seed: int):
        """Makes the sampler.

        Args:
          client_ids: The population.
          size: Clients a round.
          seed: The experiment's seed.

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

    def positions(self, round_number: int) -> list[int]:
        """Where the clients of a round, 1 or above, stand in the population."""
        draw = randomness.generator(self._seed, "cohort", round_number)
        chosen = draw.choice(
            len(self._client_ids), size=self._size, replace=False
        )
        return chosen.tolist()

    def cohort(self, round_number: int) -> list[str]:
        """The ids of the clients of round `round_number`."""
        return [self._client_ids[i] for i in self.positions(round_number)]
