"""The training loop: runs round after round, and records each."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import timing
from tff_pipeline.algorithms.algorithm import Algorithm, is_finite
from tff_pipeline.cohorts.read_ahead import Cohort, CohortReader
from tff_pipeline.config import RunConfig
from tff_pipeline.errors import TrainingError
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metric_names import reaches_target
from tff_pipeline.runs.metrics_file import Row, Value
from tff_pipeline.training import failures
from tff_pipeline.training.interrupt import StopRequest
from tff_pipeline.training.outcome import Outcome
from tff_pipeline.training.progress import Progress
from tff_pipeline.training.recorder import (
    Budget,
    Recorder,
    Round,
    Start,
)


@dataclasses.dataclass(frozen=True)
class Loop:
    """Runs an algorithm round after round, and records the results.

    Attributes:
      algorithm: The algorithm, which computes a round.
      cohort_of: A pure function from a round's number, 1 or above, and the ids
        of its clients to the cohort; without ids (`None`) a sampler draws them.
      evaluate: A function from the server's state and the kept states to
        values of columns, by name.
      config: The options of the run: rounds, intervals, target, failures.
      columns: The names of the columns that rows may have.
      recorder: Records rounds on disk.
      around_round: Makes a context manager, from a round's number, which is
        entered before the round and left after it.
      budget: The account of privacy, if there is one.
      kept: The kept states before the first round; `None` if clients keep
        nothing.
      until: The last round to run; by default that of `config`.
      evaluates_before: Whether to evaluate before the first round too, which
        tells what a pretrained model knew; the row is that of round 0.
      runtime_figures: Returns what the runtime counted since it was last
        called, by name of a column.
      sent_bytes: Returns the bytes that a client sent in secure sums since the
        last call; `None` if it sent none.
    """

    algorithm: Algorithm
    cohort_of: Callable[[int, Optional[Sequence[str]]], Cohort]
    evaluate: Callable[[Any, Optional[KeptStates]], dict[str, float]]
    config: RunConfig
    columns: Sequence[str]
    recorder: Recorder
    around_round: Callable[[int], contextlib.AbstractContextManager[Any]]
    budget: Optional[Budget] = None
    kept: Optional[KeptStates] = None
    until: Optional[int] = None
    evaluates_before: bool = False
    runtime_figures: Callable[[], Mapping[str, int]] = lambda: {}
    sent_bytes: Callable[[], Optional[int]] = lambda: None

    def run(self, initial: Any) -> Outcome:
        """Trains from the newest checkpoint, or from `initial` without one.

        A checkpoint is saved every `rounds_per_checkpoint` rounds, after the
        last round, and after each that is the best by `target_metric`. While a
        round trains, the cohort of the next one is read and the records of the
        one before are written.

        Args:
          initial: The server's state before the first round.

        Raises:
          TrainingError: If a round fails and the options do not skip it.
          RunDirectoryError: If metrics or a checkpoint cannot be written.
          ConfigError: If the budget is not that of the newest checkpoint.
        """
        with self.recorder:
            start = self.recorder.start(initial, self.kept)
            return self._rounds(start)

    def _rounds(self, start: Start) -> Outcome:
        rows, policy = start.rows, failures.Policy(self.config)
        outcome = Outcome(
            start.number,
            start.state,
            start.kept,
            bool(rows) and reaches_target(self.config, rows[-1]),
            not self._allowed(start.number + 1),
            best=start.best,
            out_of_patience=start.best.ends(self.config),
        )
        total = min(self.config.total_rounds, self.until or sys.maxsize)
        if outcome.ended:
            total = start.number
        with (
            StopRequest() as stop,
            Progress(start.number, total) as progress,
            CohortReader(self._prepared, total) as reader,
        ):
            if self.evaluates_before and not start.number and total:
                self._before(outcome, progress)
            for number in range(start.number + 1, total + 1):
                with self.around_round(number):
                    done = self._attempt(number, outcome, reader, policy)
                    # The policy looks at no more rows than these.
                    rows = [*rows, done.row]
                    rows = rows[-self.config.max_consecutive_failures :]
                    best = done.best
                    outcome = Outcome(
                        number,
                        done.state,
                        done.kept,
                        reaches_target(self.config, done.row),
                        number < total and not self._allowed(number + 1),
                        stop.signal_name,
                        best,
                        best.ends(self.config),
                    )
                    last = (
                        number == total
                        or outcome.ended
                        or outcome.interrupted_by is not None
                    )
                    save = (
                        last
                        or number % self.config.rounds_per_checkpoint == 0
                        or number == best.round_number
                    )
                    with timing.span("disk"):
                        self.recorder.record(done, save)
                        if last:
                            self.recorder.wait()
                policy.check(rows, self._lacks(done.row))
                progress.update(done.row, last)
                if last:
                    break
        return outcome

    def _before(self, start: Outcome, progress: Progress) -> None:
        """Evaluates the model that a new run begins with, and records it."""
        with timing.span("evaluation"):
            values = self.evaluate(start.state, start.kept)
        row: dict[str, Value] = {"round": 0}
        row.update((k, values[k]) for k in values if k in self.columns)
        self.recorder.before(row)
        progress.before(row)

    def _prepared(self, number: int) -> Cohort:
        """Reads the cohort of a round, and computes its epsilon ahead."""
        if self.budget is not None:
            self.budget.epsilon(number)
        return self.cohort_of(number, None)

    def _cohort(
        self, number: int, before: Outcome, reader: CohortReader
    ) -> Cohort:
        """Returns the cohort of a round, read ahead or chosen by the state."""
        if not self.algorithm.chooses_cohorts:
            return reader.read(number)
        client_ids = self.algorithm.cohort(before.state, before.kept, number)
        return self.cohort_of(number, client_ids)

    def _allowed(self, number: int) -> bool:
        return self.budget is None or self.budget.allows(number)

    def _attempt(
        self,
        number: int,
        before: Outcome,
        reader: CohortReader,
        policy: failures.Policy,
    ) -> Round:
        """Runs a round, and repeats or skips it if it fails, by the policy.

        Raises:
          TrainingError: If the policy stops training.
        """
        attempt = 1
        while True:
            try:
                began = time.monotonic()
                with timing.span("reading"):
                    cohort = self._cohort(number, before, reader)
                return self._round(number, cohort, before, policy, began)
            except failures.FAILURES as error:
                decision = policy.of_error(attempt)
                # A message may name clients, but with a privacy plan it is
                # secret which clients took part.
                why = type(error).__name__
                if self.budget is None:
                    why += f": {error}"
                self.recorder.event(
                    "failure",
                    number,
                    attempt=attempt,
                    why=why,
                    decision=decision,
                )
                if decision == "stop":
                    raise failures.explained(error, number, attempt) from error
                if decision == "skip":
                    row: dict[str, Value] = {"round": number}
                    row["rejected_update"] = 1
                    kept = self._kept_without_update(
                        number, before.state, before.kept
                    )
                    after = dataclasses.replace(before, kept=kept)
                    return self._done(number, after, (), row, began)
            attempt += 1

    def _round(
        self,
        number: int,
        cohort: Cohort,
        before: Outcome,
        policy: failures.Policy,
        began: float,
    ) -> Round:
        row: dict[str, Value] = {"round": number}
        state, kept = before.state, before.kept
        if cohort.datasets or self.algorithm.aggregation.runs_without_clients:
            state, kept = self._trained(number, cohort, before, row)
        else:
            # There is no mean of nobody; all stays as it was.
            row |= {"rejected_clients": 0, "examples": 0, "rejected_update": 0}
            kept = self._put_back(state, kept, cohort.late_ids, cohort.late)
        row.update(self.algorithm.figures(state))
        row["clients"] = len(cohort.datasets)
        if row.get("rejected_update"):
            decision, lacks = policy.of_update(), self._lacks(row)
            self.recorder.event(
                "failure",
                number,
                attempt=1,
                why=lacks or "the update is not finite",
                decision=decision,
            )
            if decision == "stop":
                raise failures.explained(
                    TrainingError(f"{lacks}. The last checkpoint stands.")
                    if lacks
                    else FloatingPointError("the update is not finite"),
                    number,
                    1,
                )
        if (
            number % self.config.rounds_per_eval == 0
            or number == self.config.total_rounds
        ):
            with timing.span("evaluation"):
                row.update(self.evaluate(state, kept))
        row.update(cohort.figures)
        for name in ("bytes_down", "bytes_up"):
            size = getattr(self.algorithm, name)
            if size is not None:  # Unless it was measured.
                row.setdefault(name, size)
        after = Outcome(number, state, kept, best=before.best)
        return self._done(number, after, cohort.client_ids, row, began)

    def _lacks(self, row: Row) -> str:
        """Says why a lost round had too few clients; empty if it had enough."""
        aggregation = self.algorithm.aggregation
        if not aggregation.tagged or "clients" not in row:
            return ""
        came = int(row["clients"]) - int(row.get("rejected_clients", 0))
        return aggregation.needs.lacks(came)

    def _trained(
        self,
        number: int,
        cohort: Cohort,
        before: Outcome,
        row: dict[str, Value],
    ) -> tuple[Any, Optional[KeptStates]]:
        """Computes a round, and adds what was measured to its row.

        Returns:
          (the server's state, the kept states), without an update that is not
          finite.
        """
        kept = before.kept
        rows: Sequence[Any] = ()
        if kept is not None:
            rows = kept.rows(cohort.client_ids)
        self.sent_bytes()  # Forgets what an attempt that failed sent.
        state, metrics, rows = self.algorithm.run_round(
            before.state, list(cohort.datasets), rows
        )
        row.update(self.algorithm.measure(metrics))
        sent = self.sent_bytes()
        if sent is not None:
            row["bytes_up"] = sent
        if not is_finite((state, rows)):
            row["rejected_update"] = 1
            state = self.algorithm.without_update(before.state, state)
        late = cohort.late_ids, cohort.late
        if row.get("rejected_update"):
            everyone = cohort.client_ids, cohort.datasets
            for ids, data in (everyone, late):
                kept = self._put_back(before.state, kept, ids, data)
            return state, self._kept_without_update(number, state, kept)
        if kept is not None:
            kept = kept.updated(cohort.client_ids, rows)
            kept = self._put_back(before.state, kept, *late)
            assert kept is not None
            kept, values = self.algorithm.after_round(
                state, kept, cohort.client_ids, number
            )
            row.update(values)
        return state, kept

    def _put_back(
        self,
        state: Any,
        kept: Optional[KeptStates],
        client_ids: Sequence[str],
        data: Sequence[Any],
    ) -> Optional[KeptStates]:
        """Returns what clients keep, of whom some sent a message in vain."""
        if kept is None or not client_ids or not self.algorithm.puts_back:
            return kept
        rows = self.algorithm.put_back(state, list(data), kept.rows(client_ids))
        return kept.updated(client_ids, rows)

    def _kept_without_update(
        self, number: int, state: Any, kept: Optional[KeptStates]
    ) -> Optional[KeptStates]:
        """Returns what clients keep after a round that did not count."""
        if kept is None:
            return None
        return self.algorithm.kept_without_update(state, kept, number)

    def _done(
        self,
        number: int,
        after: Outcome,
        client_ids: Sequence[str],
        row: dict[str, Value],
        began: float,
    ) -> Round:
        if self.budget is not None:
            row["epsilon"] = self.budget.epsilon(number)
        row.update(self.runtime_figures())
        row["seconds"] = round(time.monotonic() - began, 4)
        # A value without a column must not be shown either.
        row = {name: row[name] for name in row if name in self.columns}
        best = after.best.after(row, self.config.target_metric)
        return Round(number, after.state, after.kept, client_ids, row, best)
