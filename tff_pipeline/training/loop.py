"""The training loop: one round after the other, nothing lost."""

import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional, Protocol

import tensorflow_federated as tff

from tff_pipeline import errors, spans
from tff_pipeline.config import RunConfig
from tff_pipeline.training.checkpoint import CheckpointStore
from tff_pipeline.training.evaluation import lower_is_better
from tff_pipeline.training.interrupt import StopRequest
from tff_pipeline.training.metrics import MetricsLog, Row, Value
from tff_pipeline.training.progress import Progress


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The clients of one round.

    Attributes:
      datasets: What the process takes, one a client.
      num_examples: How many examples they have together.
      bytes_down: What one client receives.
      bytes_up: What one client sends.
    """

    datasets: Sequence[Any]
    num_examples: int
    bytes_down: int
    bytes_up: int


class Budget(Protocol):
    """What may be spent, and an account of what was."""

    def epsilon(self, rounds: int) -> float:
        """Spent after so many rounds."""

    def allows(self, round_number: int) -> bool:
        """Whether that round may be run."""

    def record(self, rounds: int) -> Mapping[str, Any]:
        """The account that a checkpoint of so many rounds keeps."""

    def check(self, saved: Optional[Mapping[str, Any]], rounds: int) -> None:
        """Raises `ConfigError` if a checkpoint's account is another one's."""

    def publish(self, rounds: int, state: Any) -> None:
        """Called when so many rounds are saved, with the state after them."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
      round_number: The rounds that the state has seen, all of them.
      state: The server's state after them.
      target_reached: Whether it stopped for `--target_metric`.
      budget_spent: Whether it stopped because another round was not allowed.
      interrupted_by: The signal that it stopped for, or `None`.
    """

    round_number: int
    state: tff.learning.templates.LearningAlgorithmState
    target_reached: bool = False
    budget_spent: bool = False
    interrupted_by: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Loop:
    """Runs a learning process over cohorts, and records what comes of it.

    Attributes:
      process: The learning process; it need not be of this package.
      cohort_of: Round number, 1 or above -> its cohort; a pure function.
      evaluate: Weights -> columns by name.
      measure: The process's metrics -> columns by name.
      config: Rounds, intervals and the target.
      log: Where rows go.
      checkpoints: Where states go.
      around_round: Round number -> a context manager to be around all of it.
      budget: What is spent of privacy, if it is accounted for.
    """

    process: tff.learning.templates.LearningProcess
    cohort_of: Callable[[int], Cohort]
    evaluate: Callable[[tff.learning.models.ModelWeights], dict[str, float]]
    measure: Callable[[Any], dict[str, Value]]
    config: RunConfig
    log: MetricsLog
    checkpoints: CheckpointStore
    around_round: Callable[[int], contextlib.AbstractContextManager]
    budget: Optional[Budget] = None

    def run(
        self, initial: tff.learning.templates.LearningAlgorithmState
    ) -> Outcome:
        """Trains from `initial`, or from the newest checkpoint.

        Saves every `rounds_per_checkpoint` rounds and always the last, before
        it returns.

        The cohort of the next round is read while this one trains.

        Raises:
          TrainingError: If no client's update was finite in as many rounds in
            a row as the config allows.
          RunDirectoryError: If metrics or a checkpoint cannot be written.
          ConfigError: If the budget is not that of the newest checkpoint.
        """
        start, state = self._start(initial)
        rows = self.log.rewind(start)
        outcome = Outcome(
            start,
            state,
            bool(rows) and self._reached(rows[-1]),
            not self._allowed(start + 1),
        )
        total = self.config.total_rounds
        if outcome.target_reached or outcome.budget_spent:
            total = start
        reader = concurrent.futures.ThreadPoolExecutor(1)
        with StopRequest() as stop, Progress(start, total) as progress, reader:
            cohorts = _ahead(self._prepared, start + 1, total, reader)
            for number in range(start + 1, total + 1):
                with self.around_round(number):
                    with spans.span("reading"):
                        cohort = next(cohorts)
                    began = time.monotonic()
                    state, row = self._round(number, cohort, state)
                    row["seconds"] = round(time.monotonic() - began, 4)
                    self.log.append(row)
                    rows.append(row)
                    self._check_lost(rows)
                    outcome = Outcome(
                        number,
                        state,
                        self._reached(row),
                        number < total and not self._allowed(number + 1),
                        stop.signal_name,
                    )
                    last = (
                        number == total
                        or outcome.target_reached
                        or outcome.budget_spent
                        or outcome.interrupted_by is not None
                    )
                    if last or number % self.config.rounds_per_checkpoint == 0:
                        with spans.span("checkpoint"):
                            self._save(number, state)
                progress.update(row, last)
                if last:
                    break
        self.log.close()
        return outcome

    def _prepared(self, number: int) -> Cohort:
        """The cohort of a round; its epsilon is known from then on."""
        if self.budget is not None:
            self.budget.epsilon(number)
        return self.cohort_of(number)

    def _start(self, initial: Any) -> tuple[int, Any]:
        """The rounds that were run, and the state after them."""
        saved = self.checkpoints.load_latest(initial)
        if saved is None:
            return 0, initial
        if self.budget is not None:
            account = self.checkpoints.load_privacy(saved[0])
            self.budget.check(account, saved[0])
        return saved

    def _allowed(self, number: int) -> bool:
        return self.budget is None or self.budget.allows(number)

    def _save(self, number: int, state: Any) -> None:
        if self.budget is None:
            self.checkpoints.save(number, state)
            return
        self.checkpoints.save(number, state, self.budget.record(number))
        self.budget.publish(number, state)

    def _round(
        self, number: int, cohort: Cohort, state: Any
    ) -> tuple[Any, dict[str, Value]]:
        output = self.process.next(state, list(cohort.datasets))
        row: dict[str, Value] = {"round": number}
        row.update(self.measure(output.metrics))
        if (
            number % self.config.rounds_per_eval == 0
            or number == self.config.total_rounds
        ):
            weights = self.process.get_model_weights(output.state)
            with spans.span("evaluation"):
                row.update(self.evaluate(weights))
        row["clients"] = len(cohort.datasets)
        row["examples"] = cohort.num_examples
        row["bytes_down"] = cohort.bytes_down
        row["bytes_up"] = cohort.bytes_up
        if self.budget is not None:
            row["epsilon"] = self.budget.epsilon(number)
        # What the log has no column for must not be shown either.
        row = {name: row[name] for name in row if name in self.log.columns}
        return output.state, row

    def _check_lost(self, rows: Sequence[Row]) -> None:
        """Raises if none of the last rounds had a finite update."""
        last = rows[-self.config.max_lost_rounds :]
        if len(last) < self.config.max_lost_rounds:
            return
        if all(row.get("rejected_update") for row in last):
            raise errors.TrainingError(
                f"No client's update was finite in {len(last)} rounds "
                f"(--max_lost_rounds), the last being {last[-1]['round']}; "
                "lower --client_learning_rate, or look for values in the data "
                "that are not finite. The last checkpoint stands."
            )

    def _reached(self, row: Row) -> bool:
        name, target = self.config.target_metric, self.config.target_value
        if name is None or target is None or name not in row:
            return False
        if lower_is_better(name):
            return row[name] <= target
        return row[name] >= target


def _ahead(
    cohort_of: Callable[[int], Cohort],
    first: int,
    last: int,
    reader: concurrent.futures.Executor,
) -> Iterator[Cohort]:
    """The cohorts of rounds `first` to `last`, each read a round ahead."""
    if first > last:
        return

    def read(number: int) -> Cohort:
        with spans.span("reading ahead"):
            return cohort_of(number)

    waiting = reader.submit(read, first)
    for number in range(first + 1, last + 1):
        cohort = waiting.result()
        waiting = reader.submit(read, number)
        yield cohort
    yield waiting.result()
