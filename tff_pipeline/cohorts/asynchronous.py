"""Who arrives when, where clients begin and end without rounds.

It depends on devices, and on nothing that is trained: it is computed anew from
the first step on by whoever asks, and lies in no checkpoint.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Optional

from tff_pipeline import randomness
from tff_pipeline.algorithms.fed_buff import (
    BufferedUpdate,
    Schedule,
    buffer_size,
)
from tff_pipeline.cohorts.devices import Devices, Outcome
from tff_pipeline.cohorts.samplers import Sampler
from tff_pipeline.config import ExperimentConfig

_LOST = (Outcome.LOST, Outcome.INTERRUPTED)


class DeviceSchedule(Schedule):
    """The steps of a server whose clients come and go by their devices.

    At the beginning as many clients as `--clients_per_round` start, those that
    the sampler draws for round 1. Whoever has sent its update or is lost is
    followed by another one, at random among those that are not under way and
    have nothing in the buffer; after a step, first by those that the sampler
    draws for the next round. Who arrives at the same time is taken together,
    before anyone follows.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        client_ids: Sequence[str],
        sampler: Sampler,
        devices: Optional[Devices],
    ):
        """Makes the schedule; nothing is computed before it is asked.

        Args:
          config: The experiment.
          client_ids: The clients that train.
          sampler: The sampler of rounds.
          devices: The clients' devices; `None` if all take a second.
        """
        self._seed = config.run.seed
        self._under_way = config.clients.clients_per_round
        self._size = buffer_size(config)
        self._client_ids = client_ids
        self._sampler = sampler
        self._devices = devices
        self._updates: list[BufferedUpdate] = []
        self._steps = self._simulate()

    def update(self, number: int) -> BufferedUpdate:
        """Returns what arrives for a step.

        Args:
          number: The number of the step, 1 or above.
        """
        while len(self._updates) < number:
            self._updates.append(next(self._steps))
        return self._updates[number - 1]

    def _simulate(self) -> Iterator[BufferedUpdate]:
        # (time of arrival, order of the start, position, version, is lost).
        queue: list[tuple[float, int, int, int, bool]] = []
        started = version = 0
        buffer: list[tuple[int, int]] = []  # (position, version).
        full_at = 0.0
        begins: list[int] = []

        def start(now: float) -> None:
            nonlocal started
            busy = {entry[2] for entry in queue} | {p for p, _ in buffer}
            missing = self._under_way - len(queue)
            for position in self._drawn(version, started, busy)[:missing]:
                started += 1
                seconds, lost = self._session(position, started)
                entry = (now + seconds, started, position, version, lost)
                heapq.heappush(queue, entry)
                begins.append(position)

        start(0.0)
        waiting: Optional[BufferedUpdate] = None
        while True:
            now = queue[0][0]
            while queue and queue[0][0] == now:
                _, _, position, begun_with, lost = heapq.heappop(queue)
                if not lost:
                    buffer.append((position, begun_with))
                if len(buffer) == self._size:
                    # Who begins with the version of a step is known once the
                    # step after it is.
                    if waiting is not None:
                        yield waiting._replace(begins=self._ids(begins))
                    full_at = now
                    waiting = BufferedUpdate(
                        self._ids([each for each, _ in buffer]),
                        [each for _, each in buffer],
                        (),
                        full_at,
                    )
                    buffer.clear()
                    begins.clear()
                    version += 1
            start(now)

    def _drawn(self, version: int, started: int, busy: set[int]) -> list[int]:
        """Lists those who may begin, in the order in which they do."""
        draw = randomness.generator(self._seed, "asynchronous", started)
        others = draw.permutation(len(self._client_ids)).tolist()
        order = dict.fromkeys([*self._sampler.positions(version + 1), *others])
        return [position for position in order if position not in busy]

    def _session(self, position: int, number: int) -> tuple[float, bool]:
        """Returns (how long a client takes, whether it is lost)."""
        if self._devices is None:
            return 1.0, False
        session = self._devices.session(position, number, 0.0)
        return session.seconds, session.outcome in _LOST

    def _ids(self, positions: Sequence[int]) -> list[str]:
        return [self._client_ids[position] for position in positions]
