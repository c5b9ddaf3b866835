"""The interface between algorithms and the training loop."""

import abc
import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Optional, Union

import numpy as np
import tensorflow_federated as tff
import tree

from tff_pipeline import errors, registry
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.client_work.held_model import ModelCode
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.kept_state import KeptStateProcess
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value

InitialWeights = Callable[[int], tff.learning.models.ModelWeights]
Process = Union[tff.learning.templates.LearningProcess, KeptStateProcess]


@dataclasses.dataclass(frozen=True)
class AlgorithmContext:
    """The arguments that an algorithm is built from.

    Attributes:
      config: The experiment; an algorithm uses `config.algorithm`,
        `config.clients` and `config.server`.
      model_fn: Makes the model for `tff.learning`; takes no arguments.
      aggregation: The aggregation of the messages of a cohort.
      first_hooks: The client hooks before those that the algorithm adds, which
        change the gradients that these leave.
      hooks: The client hooks behind those that the algorithm adds, in order.
      population: The number of clients.
      examples: Counts the examples of all clients, where an algorithm needs
        that; it may have to ask each of them.
      weight_names: The names of the trainable weights, in order.
      initial_weights: Draws the model's first weights by a seed, NumPy arrays;
        the server begins with those of the experiment's.
      schedule: Makes the schedule of an algorithm without rounds, from the
        bytes that one client receives and sends; see `fed_buff.Schedule`.
      client_ids: The ids of all clients, in order.
      model_code: Makes bytes of the model on its way to clients; `None` if it
        travels whole.
    """

    config: ExperimentConfig
    model_fn: Callable[[], tff.learning.models.VariableModel]
    aggregation: Aggregation
    hooks: Sequence[ClientHook] = ()
    population: int = 0
    examples: Callable[[], int] = lambda: 0
    weight_names: Sequence[str] = ()
    initial_weights: Optional[InitialWeights] = None
    schedule: Optional[Callable[[int, int], Any]] = None
    client_ids: Sequence[str] = ()
    first_hooks: Sequence[ClientHook] = ()
    model_code: Optional[ModelCode] = None

    @property
    def population_weight(self) -> float:
        """The sum of the weights of all clients, those that never come too."""
        if self.config.clients.weighting == "uniform":
            return float(self.population)
        return float(self.examples())


class Algorithm(abc.ABC):
    """Federated learning algorithm, as the training loop runs it.

    An entry of `registry.ALGORITHMS` names a subclass whose constructor takes
    an `AlgorithmContext`. The methods here fit a learning process with one
    model at the server; a subclass overrides those that differ.

    Attributes:
      process: A `LearningProcess`, of this package or another, or a
        `KeptStateProcess`. If its clients' data are not blocks, the loop must
        be given cohorts with such data; nothing here needs overriding.
      hooks: The client hooks, in order; they are printed at the start.
      aggregation: The aggregation of the messages of a cohort.
      bytes_down: The bytes that one client receives in a round; `None` if not
        known.
      bytes_up: The bytes that one client sends in a round; `None` if not
        known. Where messages have no fixed length, it is a usual one: what was
        sent is in the round's metrics.
      uncompressed: Why --compression is not for the algorithm, part of a
        sentence; empty if it is.
      unpruned: Why --prune_to is not for the algorithm, though --compression
        is, part of a sentence; empty if it is.
      personal: True if each client is evaluated with weights of its own, from
        `client_weights`, instead of the server's.
      model_in_state: True if the weights that are evaluated centrally and
        exported are those in the server's state; else `model_weights` makes
        them.
      takes_everyone: True if all clients take part in every round, whatever
        the sampler.
      chooses_cohorts: True if `cohort` chooses the clients of a round by the
        server's state, instead of a sampler.
    """

    process: Process
    hooks: Sequence[ClientHook] = ()
    aggregation: Aggregation
    bytes_down: Optional[int] = None
    bytes_up: Optional[int] = None
    uncompressed: ClassVar[str] = ""
    unpruned: ClassVar[str] = ""
    personal: ClassVar[bool] = False
    model_in_state: ClassVar[bool] = True
    takes_everyone: ClassVar[bool] = False
    chooses_cohorts: ClassVar[bool] = False

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses settings that the algorithm cannot be combined with.

        It is called before data are read.

        Args:
          config: The experiment.

        Raises:
          ConfigError: If some cannot; its sentence names the flags and why.
        """
        del config

    @property
    def initial_kept_state(self) -> Optional[Any]:
        """Kept state of a client that never took part.

        It is a nested structure of NumPy arrays, or `None` if clients keep
        nothing.
        """
        if not isinstance(self.process, KeptStateProcess):
            return None
        return self.process.initial_kept_state or None

    @property
    def notes(self) -> Sequence[str]:
        """Lines about the algorithm that a run prints at its start."""
        return ()

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that metrics.csv has in addition, in order."""
        of_hooks = (name for hook in self.hooks for name in hook.columns)
        return (*self.aggregation.columns, *of_hooks)

    def measure(self, metrics: Any) -> dict[str, Value]:
        """Converts the metrics of one round to columns of metrics.csv.

        Args:
          metrics: The metrics that `run_round` returned.

        Returns:
          The values by column: `examples`, `rejected_clients`,
          `rejected_update`, bytes where they were measured, those in
          `columns` and, unless all clients were rejected, `train_*`.
        """
        train = metrics["client_work"]["train"]
        values: dict[str, Value] = {
            "rejected_clients": int(metrics["client_work"]["rejected_clients"]),
            "examples": int(metrics["client_work"]["examples"]),
            # The server takes no mean that is not finite.
            "rejected_update": int(metrics["finalizer"]["update_non_finite"]),
        }
        values |= measured_bytes(metrics)
        values |= self.aggregation.measure(metrics["aggregator"])
        # Where all clients were rejected there is no loss, though TFF says 0.
        if train["num_examples"]:
            values |= {
                f"train_{name}": float(value)
                for name, value in train.items()
                if np.ndim(value) == 0
            }
        return values

    def figures(self, state: Any) -> dict[str, Value]:
        """Measures what the server keeps after a round.

        Args:
          state: The server's state, without an update that was refused.

        Returns:
          The values by column of metrics.csv, of those in `columns`.
        """
        return {
            name: value
            for hook in self.hooks
            if hook.columns
            for name, value in hook.figures(
                state.client_work[hook.name]
            ).items()
        }

    def initial_state(self, weights: tff.learning.models.ModelWeights) -> Any:
        """Makes the server's state before the first round.

        Args:
          weights: The model's first weights, NumPy arrays.
        """
        return self.process.set_model_weights(
            self.process.initialize(), weights
        )

    def run_round(
        self, state: Any, data: Sequence[Any], kept: Sequence[Any]
    ) -> tuple[Any, Any, Sequence[Any]]:
        """Runs one round.

        Args:
          state: The server's state.
          data: The data of the cohort's clients, as `process` takes them.
          kept: The kept states of these clients, in the same order; empty if
            clients keep nothing.

        Returns:
          (the server's next state, the metrics, the next kept states in the
          same order).
        """
        if isinstance(self.process, KeptStateProcess):
            # Clients that keep nothing may still receive values of hooks.
            kept = kept or [collections.OrderedDict()] * len(data)
            after, metrics, kept = self.process.next(state, data, kept)
            return after, self._completed(state, metrics), kept
        output = self.process.next(state, data)
        return output.state, self._completed(state, output.metrics), ()

    @property
    def puts_back(self) -> bool:
        """True if clients keep of a message that did not count what it said."""
        process = self.process
        return (
            isinstance(process, KeptStateProcess)
            and process.put_back is not None
        )

    def put_back(
        self, state: Any, data: Sequence[Any], kept: Sequence[Any]
    ) -> Sequence[Any]:
        """Computes what clients keep whose messages did not count.

        They train as in the round, with the same draws. It is called only if
        the algorithm `puts_back`.

        Args:
          state: The server's state before the round.
          data: The data of these clients, as `process` takes them.
          kept: Their kept states before the round, in the same order.

        Returns:
          Their kept states, in the same order.
        """
        assert isinstance(self.process, KeptStateProcess)
        assert self.process.put_back is not None
        rows: Sequence[Any] = self.process.put_back(state, data, kept)
        return rows

    def _completed(self, before: Any, metrics: Any) -> Any:
        """Completes what the aggregator measured by the weights before it."""
        complete = self.aggregation.complete
        if complete is None:
            return metrics
        weights = self.process.get_model_weights(before).trainable
        return collections.OrderedDict(
            metrics, aggregator=complete(weights, metrics["aggregator"])
        )

    def after_round(
        self,
        state: Any,
        kept: KeptStates,
        client_ids: Sequence[str],
        round_number: int,
    ) -> tuple[KeptStates, Mapping[str, Value]]:
        """Changes kept states after a round, for example to gossip.

        It is called only if clients keep states and the round was not
        rejected.

        Args:
          state: The server's state after the round.
          kept: The kept states of all clients; those of the cohort are already
            the new ones.
          client_ids: The ids of the cohort, in order.
          round_number: The number of the round, 1 or above.

        Returns:
          (the kept states from now on, `kept` or a result of
          `KeptStates.updated`; values by column of metrics.csv).
        """
        del state, client_ids, round_number
        return kept, {}

    def cohort(
        self, state: Any, kept: Optional[KeptStates], round_number: int
    ) -> Sequence[str]:
        """Chooses the clients of a round; called only if `chooses_cohorts`.

        Args:
          state: The server's state before the round.
          kept: The kept states of all clients; `None` if they keep nothing.
          round_number: The number of the round, 1 or above.

        Returns:
          The ids of the clients, in order.
        """
        raise NotImplementedError

    def model_weights(
        self, state: Any, kept: Optional[KeptStates] = None
    ) -> tff.learning.models.ModelWeights:
        """Returns the weights that are evaluated centrally and exported.

        Args:
          state: The server's state.
          kept: The kept states of all clients, for algorithms that have no
            model at the server; `None` if clients keep nothing.
        """
        del kept
        return self.process.get_model_weights(state)

    def client_weights(
        self, state: Any, kept_state: Any, data: Callable[[], Any]
    ) -> tff.learning.models.ModelWeights:
        """Returns the weights that are evaluated on one client, if `personal`.

        Args:
          state: The server's state.
          kept_state: The kept state of that client; `None` if clients keep
            nothing.
          data: Reads the data that the client trains on, as `process` takes
            them.
        """
        del kept_state, data
        return self.process.get_model_weights(state)

    def without_update(self, before: Any, after: Any) -> Any:
        """Returns the state after a round whose update is refused.

        The aggregator's state advances if it is finite, so that its noise is
        not drawn a second time; all else stays as before the round.

        Args:
          before: The server's state before the round.
          after: The server's state after it, of which a part is not finite.
        """
        if not isinstance(after, tff.learning.templates.LearningAlgorithmState):
            return before
        aggregator = after.aggregator
        if not is_finite(aggregator):
            aggregator = before.aggregator
        return before._replace(aggregator=aggregator)

    def kept_without_update(
        self, state: Any, kept: KeptStates, round_number: int
    ) -> KeptStates:
        """Returns the kept states after a round whose update is refused.

        What its clients would keep is refused too.

        Args:
          state: The server's state after `without_update`.
          kept: The kept states of all clients before the round, in which
            payloads are put back.
          round_number: The number of the round, 1 or above.
        """
        del state, round_number
        return kept


def measured_bytes(metrics: Any) -> dict[str, Value]:
    """Returns the bytes that clients received and sent, where measured.

    Args:
      metrics: The metrics of a round.

    Returns:
      The means over the cohort, whole numbers where they are, by column:
      `bytes_up` if clients sent payloads, `bytes_down` if they received some.
    """
    work = metrics["client_work"]
    values: dict[str, Value] = {}
    for column, total, count in (
        ("bytes_up", "payload_bytes", "payloads"),
        ("bytes_down", "received_bytes", "received"),
    ):
        if work.get(count):
            mean = int(work[total]) / int(work[count])
            values[column] = int(mean) if mean.is_integer() else round(mean, 1)
    return values


def is_finite(state: Any) -> bool:
    """Returns whether all floating-point numbers in a structure are finite.

    Args:
      state: A nested structure of arrays, numbers and other leaves.
    """
    return all(
        np.isfinite(leaf).all()
        for leaf in map(np.asarray, tree.flatten(state))
        if np.issubdtype(leaf.dtype, np.floating)
    )


def chosen(config: ExperimentConfig) -> type[Algorithm]:
    """Returns the class that `--algorithm` names.

    Args:
      config: The experiment.
    """
    found: type[Algorithm] = registry.load(
        config.algorithm.name, registry.ALGORITHMS
    )
    return found


def check(config: ExperimentConfig) -> None:
    """Refuses settings that the chosen algorithm cannot be combined with.

    Args:
      config: The experiment.

    Raises:
      ConfigError: If some cannot; its sentence names the flags and why.
    """
    algorithm, compression = chosen(config), config.compression
    if compression.chosen and algorithm.uncompressed:
        flag = "compression" if compression.name else "compression_down"
        raise errors.ConfigError(
            f"--{flag}={compression.chosen[0]} is not used with "
            f"--algorithm={config.algorithm.name}: {algorithm.uncompressed}; "
            "leave it out, or choose --algorithm=fed_avg."
        )
    pruning, why = config.pruning, algorithm.unpruned or algorithm.uncompressed
    if pruning.to is not None and why:
        raise errors.ConfigError(
            f"--prune_to={pruning.to} is not used with "
            f"--algorithm={config.algorithm.name}: {why}; leave it out, or "
            "choose --algorithm=fed_avg or fed_prox."
        )
    algorithm.check(config)


def build(context: AlgorithmContext) -> Algorithm:
    """Builds the algorithm that `--algorithm` names.

    Args:
      context: The arguments of the algorithm; `context.config` names it.
    """
    # An entry's constructor takes the context alone.
    made: Callable[[AlgorithmContext], Algorithm] = chosen(context.config)
    return made(context)
