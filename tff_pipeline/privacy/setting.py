"""Describes a run as far as its privacy depends on it.

The unit of privacy is a client with all its data. A round releases the sum of
the cohort's clipped updates with Gaussian noise; its noise multiplier is the
noise's standard deviation over the sum's sensitivity, which is how far one
client can move it under the adjacency: the clip, or, where a client may be
replaced by another, twice the clip. Needs no TensorFlow.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Optional

import dp_accounting

from tff_pipeline import errors
from tff_pipeline.config.privacy import DISCRETE_GAUSSIAN, SAMPLINGS_OF

_Relation = dp_accounting.NeighboringRelation

MECHANISMS = {
    "gaussian": "fresh noise in every round (McMahan et al. 2018)",
    DISCRETE_GAUSSIAN: (
        "fresh discrete noise in every round on sums of integers, drawn "
        "exactly (Canonne et al. 2020)"
    ),
    "tree": "noise of one binary tree over all rounds (Kairouz et al. 2021)",
    "tree_restart": "a new tree in every epoch (Kairouz et al. 2021)",
    "matrix": (
        "noise of a banded matrix, of as many bands as there are rounds "
        "between two participations (Choquette-Choo et al. 2023)"
    ),
    "local": "every client adds noise of its own to what it sends",
    "distributed": (
        "every client adds discrete noise, and the server learns the sum alone "
        "(Kairouz et al. 2021b)"
    ),
}

# Sampling -> how neighbouring populations differ, as the analysis needs it.
SAMPLINGS = {
    "poisson": _Relation.ADD_OR_REMOVE_ONE,
    "uniform": _Relation.REPLACE_ONE,
    "shuffled": _Relation.REPLACE_SPECIAL,
    "min_separation": _Relation.REPLACE_SPECIAL,
}
ADJACENCIES = {
    _Relation.ADD_OR_REMOVE_ONE: "add or remove one client",
    _Relation.REPLACE_ONE: "replace one client by another",
    _Relation.REPLACE_SPECIAL: "replace one client by one that sends zeros",
}
# How far one client moves the sum, in clips.
SENSITIVITIES = {
    _Relation.ADD_OR_REMOVE_ONE: 1.0,
    _Relation.REPLACE_ONE: 2.0,
    _Relation.REPLACE_SPECIAL: 1.0,
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Holds what epsilon depends on, besides noise and delta.

    A client that takes part once in each of two epochs of ten rounds:

    >>> setting = Setting("tree_restart", "shuffled", 100, 10, rounds=20)
    >>> setting.epoch, setting.participations, setting.amplified
    (10, 2, False)

    Attributes:
      mechanism: One of `MECHANISMS`.
      sampling: One of `SAMPLINGS`: each client on its own with probability
        cohort_size / population; a fixed number without replacement; everyone
        once an epoch, in some order; or nobody again within `min_separation`
        rounds. The first two are amplification by sampling to `gaussian`, the
        first to `discrete_gaussian`.
      population: The count of clients.
      cohort_size: The count of a round's clients; with Poisson sampling, the
        expected one.
      rounds: The count of rounds.
      min_separation: With `min_separation`: the least number of rounds from
        one participation of a client to its next.
      cohorts_known: Whether who takes part in which round is no secret, so that
        sampling amplifies nothing.
    """

    mechanism: str
    sampling: str
    population: int
    cohort_size: int
    rounds: int
    min_separation: Optional[int] = None
    cohorts_known: bool = False

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
          ConfigError: If one is not allowed, or they do not go together.
        """
        check_name("mechanism", self.mechanism, MECHANISMS)
        check_name("sampling", self.sampling, SAMPLINGS)
        for name in ("population", "cohort_size", "rounds"):
            if getattr(self, name) < 1:
                raise errors.ConfigError(
                    f"--{name}={getattr(self, name)}: must be at least 1."
                )
        if self.cohort_size > self.population:
            raise errors.ConfigError(
                f"--cohort_size={self.cohort_size} is more than "
                f"--population={self.population}; lower it."
            )
        takes = SAMPLINGS_OF[self.mechanism]
        if self.sampling not in takes:
            raise errors.ConfigError(
                f"--mechanism={self.mechanism} has no analysis for "
                f"--sampling={self.sampling}; choose {' or '.join(takes)}."
            )
        if (self.sampling == "min_separation") != bool(self.min_separation):
            raise errors.ConfigError(
                "--sampling=min_separation and --min_separation=ROUNDS go "
                f"together; these are --sampling={self.sampling} and "
                f"--min_separation={self.min_separation}."
            )

    @property
    def adjacency(self) -> dp_accounting.NeighboringRelation:
        """The way in which two populations differ that epsilon compares."""
        if self.mechanism == "local":
            return _Relation.REPLACE_ONE
        return SAMPLINGS[self.sampling]

    @property
    def amplified(self) -> bool:
        """Says whether not knowing who takes part lowers epsilon."""
        return (
            self.mechanism in ("gaussian", DISCRETE_GAUSSIAN)
            and self.sampling in ("poisson", "uniform")
            and not self.cohorts_known
        )

    @property
    def sensitivity(self) -> float:
        """The distance by which one client moves a round's sum, in clips.

        With `local`, the distance by which it moves its own message.
        """
        return SENSITIVITIES[self.adjacency]

    @property
    def epoch(self) -> int:
        """The number of rounds in which shuffled clients all take part once."""
        return math.ceil(self.population / self.cohort_size)

    @property
    def participations(self) -> int:
        """The largest number of rounds in which one client takes part."""
        if self.sampling == "shuffled":
            return math.ceil(self.rounds / self.epoch)
        if self.min_separation is not None:
            return math.ceil(self.rounds / self.min_separation)
        return self.rounds

    def events(
        self, noise_multiplier: float
    ) -> tuple[dp_accounting.DpEvent, int]:
        """Returns what is released, for `dp_accounting`.

        Args:
          noise_multiplier: Standard deviation over sensitivity; above 0.

        Returns:
          (an event, the number of times that it happens).
        """
        gaussian = dp_accounting.GaussianDpEvent(noise_multiplier)
        if self.amplified and self.sampling == "poisson":
            probability = self.cohort_size / self.population
            event = dp_accounting.PoissonSampledDpEvent(probability, gaussian)
            return event, self.rounds
        if self.amplified:
            event = dp_accounting.SampledWithoutReplacementDpEvent(
                self.population, self.cohort_size, gaussian
            )
            return event, self.rounds
        # All else is one Gaussian mechanism, on the vector of all that is
        # released; its sensitivity is the norm of a client's part of that.
        sensitivity = math.sqrt(self.squared_sensitivity())
        return dp_accounting.GaussianDpEvent(noise_multiplier / sensitivity), 1

    def squared_sensitivity(self) -> float:
        """Returns the squared sensitivity of all releases; one round's is 1."""
        if not self.mechanism.startswith("tree"):
            # Of a matrix with no more bands than rounds between two
            # participations, a client's columns have nothing in common.
            return self.participations
        if self.mechanism == "tree_restart":
            full, rest = divmod(self.rounds, self.epoch)
            return full * _depth(self.epoch) + _depth(rest)
        # A client adds its count to the node of every level that its rounds
        # are in; a node of 2**level rounds has it at most so often.
        separation = self.min_separation
        if separation is None:
            # The last of one epoch and the first of the next may be neighbours.
            separation = 1
        total = 0
        for level in range(_depth(self.rounds)):
            most = math.ceil(2**level / separation)
            total += self.participations * min(self.participations, most)
        return total


def check_name(flag: str, value: str, known: Mapping[str, Any]) -> None:
    """Checks that a flag's value is one of its names.

    Args:
      flag: The flag's name, for the error's sentence.
      value: Its value.
      known: The names that are allowed.

    Raises:
      ConfigError: If it is another.
    """
    if value not in known:
        names = ", ".join(known)
        raise errors.ConfigError(f"--{flag}={value}: must be one of: {names}.")


def _depth(leaves: int) -> int:
    """Counts the nodes from a leaf to the top of a tree of so many leaves."""
    return leaves.bit_length()
