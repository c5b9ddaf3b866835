"""FedBuff: the server steps whenever K updates are in, old ones counting less.

Nguyen et al. 2022, "Federated learning with buffered asynchronous aggregation",
algorithm 1. As many clients as `--clients_per_round` are under way at any time;
whoever sends its update is followed by another, which begins with the model of
that moment, x^v. An update Delta taken from version v that arrives when version
t stands has staleness tau = t - v, and counts by s(tau) = (1 + tau)^-0.5. When
the buffer has K of them,

    x^(t+1) = x^t - server's rate * (1 / K) sum_k s(tau_k) Delta_k

A round of this package is one such step. Delta is taken against the model that
the client began with, which is kept for it. Who arrives when is known from the
devices alone (`Schedule`), whatever is trained; so it is computed, not saved,
and a resumed run goes on to the bit.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.algorithms import refusals
from tff_pipeline.algorithms.algorithm import AlgorithmContext
from tff_pipeline.algorithms.fed_avg import FedAvg
from tff_pipeline.client_work.hooks import (
    ClientHook,
    Finished,
    Message,
    Received,
)
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value
from tff_pipeline.runtime import compat


class BufferedUpdate(NamedTuple):
    """The updates of one step of the server.

    Attributes:
      client_ids: The clients whose updates fill the buffer, in the order in
        which they arrive.
      versions: The version of the model that each of them began with; 0 is the
        first.
      begins: The clients that begin with the version that this step makes.
      seconds: The simulated time at which the buffer is full.
    """

    client_ids: Sequence[str]
    versions: Sequence[int]
    begins: Sequence[str]
    seconds: float


class Schedule(abc.ABC):
    """Says which updates arrive for each step of the server."""

    @abc.abstractmethod
    def update(self, number: int) -> BufferedUpdate:
        """Returns what arrives for a step.

        Args:
          number: The number of the step, 1 or above.
        """


# Makes the schedule, from the bytes that one client receives and sends.
ScheduleFn = Callable[[int, int], Schedule]


class Staleness(ClientHook):
    """Starts a client from the model it fetched; an old one counts less."""

    name = "fed_buff"

    def __init__(self, initial: Sequence[npt.NDArray[Any]]):
        """Makes the hook.

        Args:
          initial: The weights of version 0.
        """
        self._initial = list(initial)

    def describe(self) -> str:
        """Describes what becomes of the model delta."""
        return "times (1 + staleness)^-0.5"

    def initial_state(self, specs: Sequence[tf.TensorSpec]) -> Any:
        """Returns the base of a client that begins with version 0.

        Args:
          specs: Of the trainable weights.
        """
        del specs
        return {"base": self._initial, "version": np.int32(0)}

    def start(
        self, weights: Sequence[tf.Tensor], state: Any, client: Received
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Returns the weights that the client fetched.

        Args:
          weights: Those of the newest version, which it does not know.
          state: The base and its version.
          client: Not used.
        """
        return list(state["base"]), state

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Multiplies the model delta by s(tau).

        Args:
          message: The message as the hooks before this one left it.
          state: The base and its version.
          client: The client; its block has the number of the round, in which
            version round - 1 stands.

        Returns:
          (the message, the state as it was).
        """
        tau = tf.cast(client.block["round"] - 1 - state["version"], tf.float32)
        scale = tf.math.rsqrt(1.0 + tau)
        update = tf.nest.map_structure(
            lambda each: scale * each, message.update
        )
        return message._replace(update=update), state


class FedBuff(FedAvg):
    """Buffered asynchronous aggregation."""

    chooses_cohorts: ClassVar[bool] = True
    unpruned: ClassVar[str] = (
        "updates come of models of different ages, which have different masks"
    )

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses what belongs to rounds that all clients begin together.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If the aggregator is private, the buffer is larger than
            the number of clients under way, or devices have options of rounds.
        """
        refusals.refuse_private(
            config,
            "who is in a step depends on how fast clients are, and on no draw "
            "that an accounting could use",
        )
        refusals.refuse_robust(
            config,
            "updates of different ages count by their age, so that honest ones "
            "are not alike, which rules on rows rely on",
        )
        size, under_way = buffer_size(config), config.clients.clients_per_round
        if size > under_way:
            raise errors.ConfigError(
                f"--buffer_size={size} is more than the {under_way} clients "
                "under way, --clients_per_round; lower it."
            )
        down = config.compression.down
        if down is not None:
            raise errors.ConfigError(
                f"--compression_down={down} is for rounds that clients begin "
                "together, from the model after the one before, and "
                "--algorithm=fed_buff has none; leave it out."
            )
        if config.compression.linear:
            raise errors.ConfigError(
                f"--compression={config.compression.name} is for rounds that "
                "clients begin together, which tell what all of them send, and "
                "--algorithm=fed_buff has none; choose random_k."
            )
        devices = config.devices
        for flag, value, default in (
            ("round_deadline_s", devices.round_deadline_s, None),
            ("over_selection", devices.over_selection, 1.0),
            ("device_sessions", devices.sessions, None),
            ("device_availability", devices.availability, "always"),
        ):
            if value != default:
                raise errors.ConfigError(
                    f"--{flag}={value} is of rounds that clients begin "
                    "together, and --algorithm=fed_buff has none; leave it out."
                )
        if devices.straggler_work == "less":
            raise errors.ConfigError(
                "--straggler_work=less is for rounds that end, and "
                "--algorithm=fed_buff waits for whoever is slow; choose all."
            )

    @compat.without_rewriting()
    def __init__(self, context: AlgorithmContext):
        """Builds the process and the schedule.

        Args:
          context: The arguments of the algorithm.
        """
        super().__init__(context)
        self._config = context.config
        assert context.schedule is not None  # Assembly gives it.
        self._schedule: Schedule = context.schedule(
            self.bytes_down or 0, self.bytes_up or 0
        )

    def own_hooks(self, context: AlgorithmContext) -> Sequence[ClientHook]:
        """Lists the staleness.

        Args:
          context: The arguments of the algorithm.
        """
        assert context.initial_weights is not None  # Assembly gives it.
        weights = context.initial_weights(context.config.run.seed)
        return [Staleness(weights.trainable)]

    @property
    def notes(self) -> Sequence[str]:
        """Says what rounds and cohorts are."""
        clients = self._config.clients
        return [
            f"fed_buff: {clients.clients_per_round} clients are under way at "
            "any time (--clients_per_round); a round is a step of the server, "
            f"of the next {buffer_size(self._config)} updates (--buffer_size)."
        ]

    @property
    def columns(self) -> Sequence[str]:
        """Names of the additional columns: the mean staleness, and the time."""
        return [*super().columns, "staleness", "asynchronous_seconds"]

    def cohort(
        self, state: Any, kept: Optional[KeptStates], round_number: int
    ) -> Sequence[str]:
        """Returns the clients whose updates are in the buffer.

        Args:
          state: Not used.
          kept: Not used.
          round_number: The number of the step, 1 or above.
        """
        del state, kept
        return self._schedule.update(round_number).client_ids

    def after_round(
        self,
        state: Any,
        kept: KeptStates,
        client_ids: Sequence[str],
        round_number: int,
    ) -> tuple[KeptStates, dict[str, Value]]:
        """Keeps the new version for those that begin with it.

        Args:
          state: The server's state after the step.
          kept: The bases of all clients.
          client_ids: The clients of the step.
          round_number: The number of the step, which is the new version's.

        Returns:
          (the bases from now on, the columns `staleness` and
          `asynchronous_seconds`).
        """
        del client_ids
        update = self._schedule.update(round_number)
        kept = self._begun(state, kept, round_number)
        ages = [round_number - 1 - version for version in update.versions]
        return kept, {
            "staleness": float(np.mean(ages)),
            "asynchronous_seconds": round(update.seconds, 3),
        }

    def kept_without_update(
        self, state: Any, kept: KeptStates, round_number: int
    ) -> KeptStates:
        """Keeps the model, which did not move, for those that begin with it.

        Versions count all steps of the server, also those that are refused.

        Args:
          state: The server's state, with the model as before the step.
          kept: The bases of all clients.
          round_number: The number of the step.
        """
        return self._begun(state, kept, round_number)

    def _begun(
        self, state: Any, kept: KeptStates, round_number: int
    ) -> KeptStates:
        """Gives those that begin after a step the model that they fetch."""
        begins = self._schedule.update(round_number).begins
        base = self.process.get_model_weights(state).trainable
        row = {
            Staleness.name: {
                "base": [np.asarray(each) for each in base],
                "version": np.int32(round_number),
            }
        }
        # Other hooks' states, such as a memory of errors, stay.
        rows = [{**before, **row} for before in kept.rows(begins)]
        return kept.updated(begins, rows)


def buffer_size(config: ExperimentConfig) -> int:
    """Returns K, the number of updates of a step.

    Args:
      config: The experiment.
    """
    return config.algorithm.buffer_size or config.clients.clients_per_round
