"""What an algorithm is to the training loop, and what it is built from."""

import abc
import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Optional, Union

import numpy as np
import tensorflow_federated as tff
import tree

from tff_pipeline import registry
from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.client_work.kept_state import KeptStateProcess
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Value

Process = Union[tff.learning.templates.LearningProcess, KeptStateProcess]


@dataclasses.dataclass(frozen=True)
class AlgorithmContext:
    """What an algorithm is built from.

    Attributes:
      config: The experiment; its `algorithm`, `clients` and `server` matter.
      model_fn: Makes the model for `tff.learning`.
      aggregation: How the messages of a cohort become one.
      hooks: What else clients do, in order, beside what the algorithm adds.
    """

    config: ExperimentConfig
    model_fn: Callable[[], tff.learning.models.VariableModel]
    aggregation: Aggregation
    hooks: Sequence[ClientHook] = ()


class Algorithm(abc.ABC):
    """An algorithm as the training loop runs it.

    An entry of `registry.ALGORITHMS` names a class whose instances are made
    from an `AlgorithmContext`. A class overrides what differs from a plain
    learning process with one model at the server.

    Attributes:
      process: A `LearningProcess`, of this package or not, or a
        `KeptStateProcess`. If its clients' data are not blocks, override
        nothing here, but give the loop such data.
      hooks: What clients do, in order; printed at the start.
      aggregation: How the messages of a cohort become one.
      bytes_down: What travels to one client in a round; `None` if not known.
      bytes_up: What one client sends.
      personal: Whether a client's own model is evaluated on it, and not the
        server's; then `client_weights` gives it.
      chooses_cohorts: Whether `cohort` says who takes part, by the state.
    """

    process: Process
    hooks: Sequence[ClientHook] = ()
    aggregation: Aggregation
    bytes_down: Optional[int] = None
    bytes_up: Optional[int] = None
    personal: ClassVar[bool] = False
    chooses_cohorts: ClassVar[bool] = False

    @classmethod
    def check(cls, config: ExperimentConfig) -> None:
        """Refuses what the algorithm cannot be combined with.

        Called before data are read.

        Raises:
          ConfigError: Names the flags that do not go together, and why.
        """
        del config

    @property
    def initial_kept_state(self) -> Optional[Any]:
        """The state of a client that never took part; `None` if none keeps."""
        if not isinstance(self.process, KeptStateProcess):
            return None
        return self.process.initial_kept_state or None

    @property
    def columns(self) -> Sequence[str]:
        """The columns of metrics.csv that the algorithm adds, in order."""
        return self.aggregation.columns

    def measure(self, metrics: Any) -> dict[str, Value]:
        """Values of the columns from what the process measured.

        Args:
          metrics: The `metrics` that the process's `next` gave.

        Returns:
          Column name -> value: of `columns`, of `train_*`, of `examples`, and
          of `rejected_clients` and `rejected_update`.
        """
        train = metrics["client_work"]["train"]
        values: dict[str, Value] = {
            "rejected_clients": int(metrics["client_work"]["rejected_clients"]),
            "examples": int(metrics["client_work"]["examples"]),
            # The server takes no mean that is not finite.
            "rejected_update": int(metrics["finalizer"]["update_non_finite"]),
        }
        values |= self.aggregation.measure(metrics["aggregator"])
        # Where all clients were rejected there is no loss, though TFF says 0.
        if train["num_examples"]:
            values |= {
                f"train_{name}": float(value)
                for name, value in train.items()
                if np.ndim(value) == 0
            }
        return values

    def initial_state(self, weights: tff.learning.models.ModelWeights) -> Any:
        """Makes the server's state before the first round.

        Args:
          weights: The model's first weights, arrays.
        """
        return self.process.set_model_weights(
            self.process.initialize(), weights
        )

    def run_round(
        self, state: Any, data: Sequence[Any], kept: Sequence[Any]
    ) -> tuple[Any, Any, Sequence[Any]]:
        """Runs one round.

        Args:
          state: The server's.
          data: What `process` takes, one a client of the cohort.
          kept: What these clients kept, in the same order; empty if clients
            keep nothing.

        Returns:
          (state, metrics, what these clients keep).
        """
        if isinstance(self.process, KeptStateProcess):
            # Clients that keep nothing may still receive values of hooks.
            kept = kept or [collections.OrderedDict()] * len(data)
            return tuple(self.process.next(state, data, kept))
        output = self.process.next(state, data)
        return output.state, output.metrics, ()

    def after_round(
        self,
        state: Any,
        kept: KeptStates,
        client_ids: Sequence[str],
        round_number: int,
    ) -> KeptStates:
        """Rewrites what clients keep after a round, such as in gossip.

        Args:
          state: The server's after the round.
          kept: What all clients keep; that of the cohort is new already.
          client_ids: Who took part, in order.
          round_number: Which round, 1 or above.

        Returns:
          What clients keep from now on: `kept` or one that
          `KeptStates.updated` made of it.
        """
        del state, client_ids, round_number
        return kept

    def cohort(
        self, state: Any, kept: Optional[KeptStates], round_number: int
    ) -> Sequence[str]:
        """The ids of who takes part; asked for if `chooses_cohorts`.

        Args:
          state: The server's before the round.
          kept: What clients keep.
          round_number: Which round, 1 or above.
        """
        raise NotImplementedError

    def model_weights(
        self, state: Any, kept: Optional[KeptStates] = None
    ) -> tff.learning.models.ModelWeights:
        """The weights that are evaluated centrally and exported.

        Args:
          state: The server's.
          kept: What clients keep, for algorithms without a model at the server.
        """
        del kept
        return self.process.get_model_weights(state)

    def client_weights(
        self, state: Any, kept_state: Any
    ) -> tff.learning.models.ModelWeights:
        """The weights that are evaluated on one client, if `personal`.

        Args:
          state: The server's.
          kept_state: What that client keeps.
        """
        del kept_state
        return self.process.get_model_weights(state)

    def without_update(self, before: Any, after: Any) -> Any:
        """The state after a round whose result must not be taken.

        What the aggregator did was done: its noise is not drawn a second time.

        Args:
          before: The state before the round.
          after: The state that the round gave; not all of it is finite.
        """
        if not isinstance(after, tff.learning.templates.LearningAlgorithmState):
            return before
        aggregator = after.aggregator
        if not is_finite(aggregator):
            aggregator = before.aggregator
        return before._replace(aggregator=aggregator)


def is_finite(state: Any) -> bool:
    """Whether all floating-point numbers of a nested structure are finite."""
    return all(
        np.isfinite(leaf).all()
        for leaf in map(np.asarray, tree.flatten(state))
        if np.issubdtype(leaf.dtype, np.floating)
    )


def check(config: ExperimentConfig) -> None:
    """Refuses what the chosen algorithm cannot be combined with.

    Raises:
      ConfigError: Names the flags that do not go together, and why.
    """
    registry.load(config.algorithm.name, registry.ALGORITHMS).check(config)


def build(context: AlgorithmContext) -> Algorithm:
    """Builds the algorithm that `context.config` names."""
    name = context.config.algorithm.name
    return registry.load(name, registry.ALGORITHMS)(context)
