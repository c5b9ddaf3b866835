"""Writes what comes of rounds to disk, in order, in a thread of its own.

A round is recorded once all before it is on the disk: whatever the moment of a
kill, no more rounds are lost than there are between two checkpoints.
"""

import concurrent.futures
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Protocol

from tff_pipeline import errors, timing
from tff_pipeline.runs.best import NONE_YET, Best
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import Row
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.runs.state_files import digest, flatten

# Takes the record of an event: {"kind": ..., "round": ..., and what it says}.
Subscriber = Callable[[Mapping[str, Any]], None]


class Budget(Protocol):
    """A limit on what a run may spend of privacy, and an account of it."""

    def epsilon(self, rounds: int) -> float:
        """Returns the epsilon that is spent after so many rounds."""

    def allows(self, round_number: int) -> bool:
        """Returns whether that round may be run."""

    def record(self, rounds: int) -> Mapping[str, Any]:
        """Returns the account that a checkpoint of so many rounds keeps."""

    def check(self, saved: Optional[Mapping[str, Any]], rounds: int) -> None:
        """Raises `ConfigError` if a checkpoint's account is of another plan."""

    def publish(self, rounds: int, state: Any) -> None:
        """Tells that so many rounds are saved, and the state after them."""


@dataclasses.dataclass(frozen=True)
class Round:
    """A round that was run.

    Attributes:
      number: Its number, 1 or above.
      state: The server's state after it.
      kept: What clients keep after it, where they keep something.
      client_ids: The clients that took part, in order.
      row: Its row of metrics.csv.
      best: The best evaluation so far, this round's too.
    """

    number: int
    state: Any
    kept: Optional[KeptStates]
    client_ids: Sequence[str]
    row: Row
    best: Best = NONE_YET


@dataclasses.dataclass(frozen=True)
class Start:
    """The point that a run goes on from.

    Attributes:
      number: The rounds that were run before, 0 for a new run.
      state: The server's state after them.
      kept: What clients keep after them, where they keep something.
      rows: Their rows of metrics.csv.
      best: The best evaluation among them.
    """

    number: int
    state: Any
    kept: Optional[KeptStates]
    rows: Sequence[Row]
    best: Best = NONE_YET


class Recorder:
    """Keeps metrics, the log, checkpoints and the budget in step.

    A context manager: when it ends, all is on the disk.
    """

    def __init__(
        self,
        metrics: Sinks,
        log: RoundLog,
        checkpoints: CheckpointStore,
        budget: Optional[Budget] = None,
        cohort_key: bytes = b"",
        sign: Optional[Callable[[int, str], None]] = None,
        subscribers: Sequence[Subscriber] = (),
        statement: Callable[[], Mapping[str, str]] = dict,
    ):
        """Makes a recorder; `start` comes before all else.

        Args:
          metrics: The sinks that take rows.
          log: The log that takes records.
          checkpoints: The store that takes states.
          budget: The account of what is spent of privacy, if there is one.
          cohort_key: A secret, where nobody may know who took part: hashes of
            cohorts cannot be guessed at without it.
          sign: Signs the log; takes a round and the log's head after it.
          subscribers: Functions that hear of every event, in this order.
          statement: Returns the SHA-256 of the files of the privacy statement
            by name; none without one.
        """
        self._statement = statement
        self._metrics = metrics
        self._log = log
        self._checkpoints = checkpoints
        self._budget = budget
        self._cohort_key = cohort_key
        self._sign = sign
        self._subscribers = tuple(subscribers)
        self._writer = concurrent.futures.ThreadPoolExecutor(1)
        self._waiting: Optional[concurrent.futures.Future[None]] = None

    def start(self, initial: Any, kept: Optional[KeptStates] = None) -> Start:
        """Goes back to the newest checkpoint that is valid, or begins.

        Args:
          initial: The state before all rounds.
          kept: What clients keep before all rounds, where they keep something.

        Returns:
          Where to go on from.

        Raises:
          RunDirectoryError: If files cannot be read or written.
          ConfigError: If the budget is not that of the checkpoint.
        """
        saved = self._checkpoints.load_latest(initial, kept)
        if saved is None:
            self._log.rewind(0, None)
            self._metrics.rewind(0, [])
            return Start(0, initial, kept, [])
        number, notes = saved.round_number, saved.notes
        if self._budget is not None:
            self._budget.check(notes.get("privacy"), number)
        logged = self._log.rewind(number, notes.get("log"))
        rows = self._metrics.rewind(number, logged)
        # A kill may have come between the checkpoint and these.
        self._publish(number, saved.state, notes.get("log", ""))
        best = Best.of_notes(notes)
        return Start(number, saved.state, saved.kept, rows, best)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            self.wait()
        except errors.PipelineError:
            # Another error is on its way already, most likely this one.
            if kind is None:
                raise
        finally:
            self._writer.shutdown()
            self._metrics.close()

    def wait(self) -> None:
        """Returns when all is written; raises what kept it from being."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.result()

    def record(self, done: Round, save: bool) -> None:
        """Writes a round, in the background.

        Args:
          done: The round.
          save: Whether to save a checkpoint after it.

        Raises:
          RunDirectoryError: If the round before could not be written.
        """
        self.wait()
        self._waiting = self._writer.submit(self._write, done, save)

    def before(self, row: Row) -> None:
        """Writes what the model was worth before the first round.

        Args:
          row: The row of round 0.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        self._metrics.append(row)
        self._log.before(row)

    def event(self, kind: str, round_number: int, **content: Any) -> None:
        """Writes what happened in a round to the log, and tells subscribers.

        Args:
          kind: What happened, such as "failure"; the record's kind.
          round_number: The round.
          **content: What there is to say, as JSON.

        Raises:
          RunDirectoryError: If it, or the round before, cannot be written.
        """
        self.wait()
        self._log.add(kind, round=round_number, **content)
        for subscriber in self._subscribers:
            subscriber({"kind": kind, "round": round_number, **content})

    def _write(self, done: Round, save: bool) -> None:
        number = done.number
        with timing.span("recording"):
            self._metrics.append(done.row)
            state = digest(flatten(done.state))
            kept = None if done.kept is None else done.kept.digest()
            cohort = self._cohort(done)
            self._log.round(number, state, cohort, done.row, kept)
        if not save:
            return
        with timing.span("checkpoint"):
            # Before the checkpoint that says that they are there.
            self._metrics.sync()
            self._log.sync()
            notes: dict[str, Any] = {"log": self._log.head}
            if done.best.round_number or done.best.since:
                notes["best"] = done.best.note()
            if self._budget is not None:
                notes["privacy"] = self._budget.record(number)
            spare = (done.best.round_number,)
            self._checkpoints.save(number, done.state, done.kept, notes, spare)
            self._publish(number, done.state, notes["log"])

    def _publish(self, number: int, state: Any, head: str) -> None:
        """Says outside of a checkpoint that it was saved."""
        if self._budget is not None:
            self._budget.publish(number, state)
        files = self._statement()
        if files:
            self._log.add("privacy", round=number, files=dict(files))
            self._log.sync()
            head = self._log.head
        if self._sign is not None:
            self._sign(number, head)

    def _cohort(self, done: Round) -> str:
        text = json.dumps(list(done.client_ids))
        return hmac.new(
            self._cohort_key, text.encode(), hashlib.sha256
        ).hexdigest()
