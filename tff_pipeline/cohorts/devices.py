"""Devices of clients: whether one comes in a round, how long it takes.

All of it is a function of (seed, round, client), and where the time of day says
who is there, of the simulated time as well. What happens to a client's session
is named as Bonawitz et al. 2019 ("Towards federated learning at scale",
arXiv:1902.01046, table 1) write it down:

    `-` checks in, `v` has the plan, `[` begins and `]` ends training,
    `+` begins and `^` ends the upload, `#` upload refused, `!` interrupted

How fast devices are by default is made up, since no table of it is published:
50 examples a second, 20 Mbit/s down and 5 Mbit/s up at the median. With
`lognormal` the logarithm of each has a standard deviation of 0.9, for which the
tenth and the ninetieth percentile are ten times apart.
"""

import copy
import enum
import functools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness
from tff_pipeline.cohorts import device_traces
from tff_pipeline.cohorts.device_traces import Speed
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.devices import BY_SIZE, EQUAL, LOGNORMAL
from tff_pipeline.datasets.federation.federated_data import FederatedData

_MEDIAN = Speed(samples_per_second=50, kbps_down=20_000, kbps_up=5_000)
_SPREAD = 0.9
_DAY_S = 86_400.0
# The share that is there swings by (1 + 0.6) / (1 - 0.6) = 4 (Bonawitz et al.).
_SWING = 0.6
_SLOWDOWN = 4.0  # Of stragglers that do all of their work.


class Outcome(enum.Enum):
    """End of a client's session; the values are the session's shape."""

    UNAVAILABLE = ""
    LOST = "-"
    INTERRUPTED = "-v[!"
    LATE = "-v[]+#"
    COMPLETED = "-v[]+^"


class Session(NamedTuple):
    """A client's part in a round, as far as it does not depend on others.

    Attributes:
      outcome: How it ends. A session that is completed may still come too
        late, where the first to finish are kept.
      seconds: The simulated time from the round's start to its last upload, if
        it is not cut short; 0 if the client is not there.
      steps: The number of steps that it takes, as a block has it: 0 for as
        many as all take.
    """

    outcome: Outcome
    seconds: float
    steps: int = 0


class Devices:
    """The devices of the clients that train.

    Example:
      >>> import numpy as np
      >>> from tff_pipeline.config import DeviceConfig
      >>> from tff_pipeline.datasets.federation.federated_data import (
      ...     Examples,
      ...     InMemoryData,
      ... )
      >>> examples = Examples(np.zeros([100, 2]), np.zeros([100]))
      >>> data = InMemoryData(examples, {"a": np.arange(100)})
      >>> config = ExperimentConfig(devices=DeviceConfig(speeds="equal"))
      >>> devices = Devices(config, data).with_traffic(10**6, 10**6)
      >>> devices.seconds(0, 1)  # 0.4 s down, 2 s of training, 1.6 s up
      4.0
    """

    def __init__(self, config: ExperimentConfig, data: FederatedData):
        """Reads the files that devices are described in.

        Args:
          config: The experiment.
          data: The clients that train. Whoever stands behind them in a
            population, such as a canary, is always there and takes no time.

        Raises:
          DataError: If a file cannot be read, or has no value where one must
            be.
        """
        self._config = config
        self._data = data
        self._bytes_down = self._bytes_up = 0
        options, ids = config.devices, data.client_ids
        self._sessions = None
        if options.sessions is not None:
            self._sessions = device_traces.read_sessions(options.sessions, ids)
        self._speeds = None
        if options.speeds == LOGNORMAL:
            draw = randomness.generator(config.run.seed, "device speeds")
            factors = np.exp(_SPREAD * draw.standard_normal([len(ids), 3]))
            rows = (factors * np.array(_MEDIAN)).tolist()
            self._speeds = [Speed(*row) for row in rows]
        elif options.speeds is not None and options.speeds != EQUAL:
            self._speeds = device_traces.read_speeds(options.speeds, ids)
        self._size = functools.lru_cache(None)(
            lambda position: data.size(ids[position])
        )
        self._draws = functools.lru_cache(4)(self._draw)

    def with_traffic(self, bytes_down: int, bytes_up: int) -> "Devices":
        """Returns the devices, with what an algorithm moves.

        Args:
          bytes_down: The bytes that one client receives in a round.
          bytes_up: The bytes that it sends.
        """
        devices = copy.copy(self)
        devices._bytes_down, devices._bytes_up = bytes_down, bytes_up
        return devices

    def speed(self, position: int) -> Speed:
        """Returns how fast a client's device is, the same in all rounds.

        Args:
          position: The client's position among those that train.
        """
        return _MEDIAN if self._speeds is None else self._speeds[position]

    def seconds(self, position: int, number: int) -> float:
        """Returns how long a client takes, if it is not interrupted.

        An asynchronous algorithm, which has no rounds, asks with the version of
        the model that the client begins with.

        Args:
          position: The client's position among those that train.
          number: The number of the round, or of the version, 1 or above.

        Returns:
          The simulated seconds to receive the model, to train and to send what
          came of it.
        """
        return self._timed(position, number)[0]

    def session(self, position: int, number: int, start_s: float) -> Session:
        """Simulates a client's part in a round.

        Args:
          position: The client's position in the population.
          number: The number of the round, 1 or above.
          start_s: The time at which the round begins, on the simulated clock.
        """
        if position >= len(self._data.client_ids):
            return Session(Outcome.COMPLETED, 0.0)
        left = self._time_left(position, number, start_s)
        if left <= 0:
            return Session(Outcome.UNAVAILABLE, 0.0)
        options = self._config.devices
        _, drops_out, in_training, *_ = self._draws(number)[position]
        seconds, steps = self._timed(position, number)
        if drops_out < options.dropout:
            share = options.dropout_in_training
            began = share is None or in_training < share
            outcome = Outcome.INTERRUPTED if began else Outcome.LOST
            return Session(outcome, seconds)
        deadline = options.round_deadline_s or math.inf
        if left < min(seconds, deadline):
            return Session(Outcome.INTERRUPTED, seconds)
        late = seconds > deadline or self._work_of(position, number) == "late"
        return Session(
            Outcome.LATE if late else Outcome.COMPLETED, seconds, steps
        )

    def _draw(self, number: int) -> npt.NDArray[np.float64]:
        """Draws five numbers from 0 to 1 for every client in a round.

        A client's row depends on no other client, nor on how many there are.
        """
        draw = randomness.generator(self._config.run.seed, "session", number)
        return draw.random([len(self._data.client_ids), 5])

    def _time_left(self, position: int, number: int, start_s: float) -> float:
        """Returns for how long a client is there, 0 if it is not."""
        if self._sessions is not None:
            client_id = self._data.client_ids[position]
            return self._sessions.left(client_id, start_s) or 0.0
        if self._config.devices.availability == "always":
            return math.inf
        hour = 2 * math.pi * start_s / _DAY_S
        share = (1 + _SWING * math.cos(hour)) / (1 + _SWING)
        return math.inf if self._draws(number)[position, 0] < share else 0.0

    def _work_of(self, position: int, number: int) -> str:
        """Returns a name of `STRAGGLER_WORK`, or "" for who has enough time."""
        options = self._config.devices
        if self._draws(number)[position, 3] < options.stragglers:
            return options.straggler_work or "late"
        return ""

    def _timed(self, position: int, number: int) -> tuple[float, int]:
        """Returns how long a client takes, and its steps as a block has them.

        Counted is one pass over each example a step takes; what an algorithm
        computes besides, such as a second gradient, is not.
        """
        work = self._work_of(position, number)
        steps = 0
        if work == "less":
            steps = self._fewer(position, self._draws(number)[position, 4])
        speed = self.speed(position)
        seconds = self._examples(position, steps) / speed.samples_per_second
        # A kilobit a second is 125 bytes a second.
        seconds += self._bytes_down / (125 * speed.kbps_down)
        seconds += self._bytes_up / (125 * speed.kbps_up)
        return seconds * (_SLOWDOWN if work in ("all", "late") else 1.0), steps

    def _fewer(self, position: int, drawn: Any) -> int:
        """Returns how many steps a straggler takes, at least one.

        Li et al. 2020 (FedProx, section 5.2) draw the number of epochs
        uniformly from 1 to all. Of one epoch, or of steps, steps are drawn.
        """
        clients = self._config.clients
        an_epoch = self._steps_an_epoch(position)
        if clients.steps_per_round is not None:
            return 1 + int(drawn * clients.steps_per_round)
        if clients.epochs_per_round == 1:
            return 1 + int(drawn * an_epoch)
        return an_epoch * (1 + int(drawn * clients.epochs_per_round))

    def _examples(self, position: int, steps: int) -> int:
        """Counts the examples that a client's steps take, all steps if 0."""
        clients = self._config.clients
        size = self._size(position)
        if self._config.algorithm.name == "fed_sgd":
            return size
        steps = steps or clients.steps_per_round or 0
        if not steps:
            return clients.epochs_per_round * size
        epochs, rest = divmod(steps, self._steps_an_epoch(position))
        return epochs * size + rest * clients.batch_size

    def _steps_an_epoch(self, position: int) -> int:
        return -(-self._size(position) // self._config.clients.batch_size)


def learning_rate_factors(
    config: ExperimentConfig, data: FederatedData
) -> list[float]:
    """Makes the factors on the learning rate of every client.

    Args:
      config: The experiment, with `--client_learning_rates`.
      data: The clients that train.

    Returns:
      The factors, in the order of `data.client_ids`. By size they are the mean
      number of examples over a client's own, at most 1, so that in as many
      epochs a large client moves no further than an average one.

    Raises:
      DataError: If the file cannot be read, or a client is not in it.
    """
    path, ids = config.devices.client_learning_rates, data.client_ids
    assert path is not None
    if path != BY_SIZE:
        return device_traces.read_learning_rates(path, ids)
    sizes = np.array([data.size(client_id) for client_id in ids], np.float64)
    return np.minimum(1.0, sizes.mean() / sizes).tolist()
