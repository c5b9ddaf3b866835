"""The training loop: one round after the other, nothing lost."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Optional

import tensorflow_federated as tff

from tff_pipeline import errors
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


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
      round_number: The rounds that the state has seen, all of them.
      state: The server's state after them.
      target_reached: Whether it stopped for `--target_metric`.
      interrupted_by: The signal that it stopped for, or `None`.
    """

    round_number: int
    state: tff.learning.templates.LearningAlgorithmState
    target_reached: bool = False
    interrupted_by: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Loop:
    """Runs a learning process over cohorts, and records what comes of it.

    Attributes:
      process: The learning process; it need not be of this package.
      cohort_of: Round number, 1 or above -> its cohort; a pure function.
      evaluate: Weights -> central metrics by name.
      train_metrics: Process output metrics -> train metrics by name.
      config: Rounds, intervals and the target.
      log: Where rows go.
      checkpoints: Where states go.
    """

    process: tff.learning.templates.LearningProcess
    cohort_of: Callable[[int], Cohort]
    evaluate: Callable[[tff.learning.models.ModelWeights], dict[str, float]]
    train_metrics: Callable[[Any], dict[str, float]]
    config: RunConfig
    log: MetricsLog
    checkpoints: CheckpointStore

    def run(
        self, initial: tff.learning.templates.LearningAlgorithmState
    ) -> Outcome:
        """Trains from `initial`, or from the newest checkpoint.

        Saves every `rounds_per_checkpoint` rounds and always the last, before
        it returns.

        Raises:
          TrainingError: If a round's training loss is not finite.
          RunDirectoryError: If metrics or a checkpoint cannot be written.
        """
        start, state = self.checkpoints.load_latest(initial) or (0, initial)
        rows = self.log.rewind(start)
        outcome = Outcome(start, state, bool(rows) and self._reached(rows[-1]))
        total = start if outcome.target_reached else self.config.total_rounds
        with StopRequest() as stop, Progress(start, total) as progress:
            for number in range(start + 1, total + 1):
                began = time.monotonic()
                state, row = self._round(number, state)
                row["seconds"] = round(time.monotonic() - began, 4)
                self.log.append(row)
                outcome = Outcome(
                    number, state, self._reached(row), stop.signal_name
                )
                last = (
                    number == total
                    or outcome.target_reached
                    or outcome.interrupted_by is not None
                )
                if last or number % self.config.rounds_per_checkpoint == 0:
                    self.checkpoints.save(number, state)
                progress.update(row, last)
                if last:
                    break
        self.log.close()
        return outcome

    def _round(self, number: int, state: Any) -> tuple[Any, dict[str, Value]]:
        cohort = self.cohort_of(number)
        output = self.process.next(state, list(cohort.datasets))
        row: dict[str, Value] = {"round": number}
        for name, value in self.train_metrics(output.metrics).items():
            row[f"train_{name}"] = float(value)
        if not math.isfinite(row.get("train_loss", 0.0)):
            raise errors.TrainingError(
                f"The training loss of round {number} is "
                f"{row['train_loss']}; lower --client_learning_rate or "
                "--server_learning_rate, or look for values in the data that "
                "are not finite. The last checkpoint stands."
            )
        if (
            number % self.config.rounds_per_eval == 0
            or number == self.config.total_rounds
        ):
            weights = self.process.get_model_weights(output.state)
            for name, value in self.evaluate(weights).items():
                row[f"eval_{name}"] = value
        row["clients"] = len(cohort.datasets)
        row["examples"] = cohort.num_examples
        row["bytes_down"] = cohort.bytes_down
        row["bytes_up"] = cohort.bytes_up
        return output.state, row

    def _reached(self, row: Row) -> bool:
        name, target = self.config.target_metric, self.config.target_value
        if name is None or target is None or name not in row:
            return False
        if lower_is_better(name):
            return row[name] <= target
        return row[name] >= target
