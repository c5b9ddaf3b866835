"""Rounds of devices: who of the chosen takes part, and the simulated clock.

The clock depends on every round before, but on nothing that is trained. It is
therefore computed anew by whoever needs it, from round 1 on, and stored in no
checkpoint: a resumed run, a repeated round and an audit see the same times.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Optional

from tff_pipeline.cohorts.devices import Devices, Outcome, Session
from tff_pipeline.cohorts.samplers import Sampler
from tff_pipeline.config import ExperimentConfig

# How long the server waits, without a deadline, where nobody comes.
_WAIT_S = 60.0
_BEGAN = (Outcome.INTERRUPTED, Outcome.LATE, Outcome.COMPLETED)
_UPLOADED = (Outcome.LATE, Outcome.COMPLETED)

COLUMNS = (
    "simulated_seconds",
    "chosen_clients",
    "unavailable_clients",
    "dropped_clients",
    "late_clients",
    "round_bytes_down",
    "round_bytes_up",
)


@dataclasses.dataclass(frozen=True)
class DeviceRound:
    """A round, as devices make it.

    Attributes:
      positions: The positions of the clients that count, in the order in which
        they finish.
      steps: The number of steps that each of them takes, 0 for as many as all.
      late: The positions of the clients that sent their update too late, and
        the number of steps that each of them takes.
      counts: How many of the chosen clients ended how.
      end_s: The simulated time at which the round ends, in seconds.
    """

    positions: Sequence[int]
    steps: Sequence[int]
    late: Mapping[int, int]
    counts: Mapping[Outcome, int]
    end_s: float

    def figures(self, bytes_down: int, bytes_up: int) -> dict[str, float]:
        """Returns the values of `COLUMNS`.

        Who drops out while it trains has received the model, and who is late
        has sent its update, though in vain.

        Args:
          bytes_down: The bytes that one client receives.
          bytes_up: The bytes that it sends.
        """
        counts = self.counts
        values = (
            round(self.end_s, 3),
            sum(counts.values()),
            counts[Outcome.UNAVAILABLE],
            counts[Outcome.LOST] + counts[Outcome.INTERRUPTED],
            counts[Outcome.LATE],
            bytes_down * sum(counts[each] for each in _BEGAN),
            bytes_up * sum(counts[each] for each in _UPLOADED),
        )
        return dict(zip(COLUMNS, values))


class DeviceRounds:
    """Simulates the rounds of a run; pure functions of their number."""

    def __init__(
        self, config: ExperimentConfig, sampler: Sampler, devices: Devices
    ):
        """Makes the simulation; nothing is computed before it is asked.

        Args:
          config: The experiment.
          sampler: The sampler that chooses clients, as many as
            `DeviceConfig.chosen` says.
          devices: The devices of the clients.
        """
        self._sampler = sampler
        self._devices = devices
        self._deadline = config.devices.round_deadline_s
        # Only where more are chosen than needed: else whoever comes counts,
        # for with Poisson sampling by chance more come than are expected.
        self._needed: Optional[int] = None
        if config.devices.over_selection > 1:
            self._needed = config.clients.clients_per_round
        # One client must not move the time of others where it is protected.
        self._of_one_length = config.private and self._deadline is not None
        # The times at which rounds begin, from round 1 on, and the first round
        # that each client counted in.
        self._starts = [0.0]
        self._first: dict[int, int] = {}

    def round(self, number: int) -> DeviceRound:
        """Simulates a round, and those before it that were not yet.

        Args:
          number: The number of the round, 1 or above.
        """
        for before in range(len(self._starts), number):
            self._advance(before)
        if number == len(self._starts):
            return self._advance(number)
        return self._simulate(number)

    def never_seen(self, rounds: int, clients: int) -> list[int]:
        """Lists the positions of the clients that counted in no round.

        Args:
          rounds: The number of rounds.
          clients: The number of clients, which stand first in the population.
        """
        self.round(rounds)
        return [
            position
            for position in range(clients)
            if self._first.get(position, rounds + 1) > rounds
        ]

    def _advance(self, number: int) -> DeviceRound:
        """Simulates the round after the last one that was."""
        result = self._simulate(number)
        self._starts.append(result.end_s)
        for position in result.positions:
            self._first.setdefault(position, number)
        return result

    def _simulate(self, number: int) -> DeviceRound:
        start_s = self._starts[number - 1]
        sessions = {
            position: self._devices.session(position, number, start_s)
            for position in self._sampler.positions(number)
        }
        finished = [
            position
            for position, session in sessions.items()
            if session.outcome is Outcome.COMPLETED
        ]
        finished.sort(key=lambda position: sessions[position].seconds)
        kept = finished[: self._needed]
        counts = collections.Counter(each.outcome for each in sessions.values())
        late = {
            position: session.steps
            for position, session in sessions.items()
            if session.outcome is Outcome.LATE
        }
        for position in finished[len(kept) :]:
            late[position] = sessions[position].steps
        counts[Outcome.COMPLETED] = len(kept)
        counts[Outcome.LATE] = len(late)
        return DeviceRound(
            kept,
            [sessions[position].steps for position in kept],
            late,
            counts,
            start_s + self._length([sessions[p] for p in kept], counts),
        )

    def _length(
        self, kept: Sequence[Session], counts: Mapping[Outcome, int]
    ) -> float:
        """Returns how long a round lasts, in simulated seconds.

        It ends with the last client that is needed. If fewer come, the server
        waits for those that are late until the deadline.
        """
        deadline = self._deadline
        if self._of_one_length and deadline is not None:
            return deadline
        if not kept:
            return deadline or _WAIT_S
        enough = len(kept) == self._needed
        if deadline is not None and counts[Outcome.LATE] and not enough:
            return deadline
        return kept[-1].seconds
