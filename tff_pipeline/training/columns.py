"""The columns of metrics.csv: their names, and the values of evaluation."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

from tff_pipeline.algorithms.algorithm import Algorithm
from tff_pipeline.attacks.attack import Attack
from tff_pipeline.attacks.in_words import ATTACKERS
from tff_pipeline.cohorts import device_rounds
from tff_pipeline.config.run import SEEN
from tff_pipeline.datasets.federation.federated_data import FederatedData
from tff_pipeline.evaluation import over_clients, spread
from tff_pipeline.evaluation.attack_success import AttackSuccess
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metric_names import TEST, VALIDATION
from tff_pipeline.tasks.task import Task

# The share of test examples on which a backdoor works.
_SUCCESS = f"{TEST}attack_success"
# Exact figures of the clients that train, left out of private runs.
_EXACT = (
    *("clients", "rejected_clients", "examples"),
    *device_rounds.COLUMNS,
    ATTACKERS,
)


def names(
    task: Task,
    groups: Iterable[str],
    more: Iterable[str] = (),
    exact: bool = True,
    personal: bool = False,
    backdoor: bool = False,
) -> list[str]:
    """Lists the names of all columns, in order.

    Args:
      task: The task, which has the metrics.
      groups: The groups of clients that are evaluated client by client, such
        as `seen`.
      more: The columns that the algorithm and devices add.
      exact: Whether to include figures of the training clients that neither
        noise nor encryption protects.
      personal: Whether clients that train have weights of their own, which are
        compared with the server's.
      backdoor: Whether some clients teach the model a backdoor.
    """
    groups = list(groups)
    columns = [
        "round",
        *(f"train_{name}" for name in task.metric_names),
        *(f"{TEST}{name}" for name in task.evaluated_names),
        *([_SUCCESS] if backdoor else []),
        *(
            f"{VALIDATION}{name}"
            for name in task.evaluated_names
            if task.validation is not None
        ),
        *(
            f"{group}_{name}_{statistic}"
            for group in groups
            for name in task.evaluated_names
            for statistic in spread.SPREAD
        ),
        *(
            f"{SEEN}_{name}_{statistic}"
            for name in task.evaluated_names
            for statistic in spread.COMPARED
            if personal and SEEN in groups
        ),
        *("clients", "rejected_clients", "rejected_update", "examples"),
        *("bytes_down", "bytes_up", "seconds"),
        *more,
    ]
    if exact:
        return columns
    return [
        name
        for name in columns
        if name not in _EXACT and not name.startswith("train_")
    ]


def _columns(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """Names columns; a cell stays empty where a metric is not defined."""
    return {
        f"{prefix}{name}": value
        for name, value in values.items()
        if spread.is_defined(name, value)
    }


class Evaluation:
    """Evaluates an algorithm's weights into columns of metrics.csv."""

    def __init__(
        self,
        algorithm: Algorithm,
        task: Task,
        groups: Mapping[str, FederatedData],
        training_data: Callable[[str], Any],
        attack: Attack,
    ):
        """Prepares the evaluation.

        Args:
          algorithm: The algorithm, which selects the weights.
          task: The task: its test set, loss and metrics.
          groups: The test examples of clients, by group; these clients are
            evaluated one by one.
          training_data: Reads the data that a client trains on, from its id,
            for algorithms in which clients have weights of their own.
          attack: What hostile clients do; of a backdoor, it is measured on how
            much of the test set it works.
        """
        self._algorithm = algorithm
        self._evaluator = Evaluator(task)
        self._task = task
        self._groups = groups
        self._training_data = training_data
        self._success: Optional[AttackSuccess] = None
        if attack.trigger is not None:
            self._success = AttackSuccess(task, attack.trigger, attack.target)

    def __call__(
        self, state: Any, kept: Optional[KeptStates]
    ) -> dict[str, float]:
        """Evaluates centrally and client by client.

        Args:
          state: The server's state.
          kept: The kept states of all clients; `None` if they keep nothing.

        Returns:
          The values by column: `eval_*` for the central test set,
          `validation_*` for the validation set where there is one,
          `eval_attack_success` where there is a backdoor, and for each group
          the spread of each metric over its clients. Clients that train are
          evaluated with weights of their own, where the algorithm has such, and
          beside that with the server's.
        """
        weights = self._algorithm.model_weights(state, kept)
        on_test_set = self._evaluator.evaluate(weights, self._task.test)
        columns = _columns(TEST, on_test_set)
        if self._success is not None:
            columns[_SUCCESS] = self._success.share(self._evaluator)
        if self._task.validation is not None:
            on_others = self._evaluator.measure(self._task.validation)
            columns |= _columns(VALIDATION, on_others)
        for group, clients in self._groups.items():
            values = over_clients.evaluate_clients(
                self._evaluator, lambda _: weights, clients
            )
            if group == SEEN and self._algorithm.personal:
                own = over_clients.evaluate_clients(
                    self._evaluator,
                    over_clients.own_weights(
                        self._algorithm, state, kept, self._training_data
                    ),
                    clients,
                )
                columns |= spread.compared_columns(group, own, values)
                values = own
            columns |= spread.spread_columns(group, values)
        return columns
