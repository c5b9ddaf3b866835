"""One workload: all contenders, their rounds interleaved."""

import dataclasses
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

import numpy as np

from benchmarks import rounds
from benchmarks.child import Child, Failed
from benchmarks.contenders import Contender
from benchmarks.workloads import Workload, initial_weights

# After how many rounds weights are compared.
CHECKED = 3
# With whose weights, if it takes part.
REFERENCE = "tff_shipped"


@dataclasses.dataclass(frozen=True)
class Record:
    """What was measured of one contender on one workload.

    Attributes:
      workload: Its name.
      contender: Its name.
      median_seconds: Of a round, as its own clock has it.
      min_seconds: Of a round.
      max_seconds: Of a round.
      timed_rounds: How many rounds these are of; the first is not one of them.
      cpu_seconds: User and system time of a round, the mean, of the process
        and all its descendants.
      peak_mb: The most memory, summed over the process and its descendants.
      first_round_seconds: From the start of the process to the end of its
        first round: imports, building, compiling, one round.
      relative_difference: Of its weights after three rounds from those of
        `reference`: the norm of the difference, divided by that of what the
        reference learned.
      reference: The name of a contender.
      train_loss: Of the last round; `None` if it does not measure it.
      train_accuracy: Likewise.
    """

    workload: str
    contender: str
    median_seconds: float
    min_seconds: float
    max_seconds: float
    timed_rounds: int
    cpu_seconds: float
    peak_mb: float
    first_round_seconds: float
    relative_difference: float
    reference: str
    train_loss: Optional[float]
    train_accuracy: Optional[float]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one workload.

    Attributes:
      records: Of those that finished, in the order of the contenders.
      failures: Contender's name -> what happened, and where its log is.
      versions: Contender's name -> its packages' versions.
    """

    records: Sequence[Record]
    failures: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]


def measure(
    workload: Workload,
    contenders: Sequence[Contender],
    timed_rounds: int,
    seconds: float,
    logs: str,
    say: Callable[[str], None],
) -> Outcome:
    """Runs one workload on all contenders.

    Args:
      workload: The work.
      contenders: Who takes part.
      timed_rounds: How many rounds to time; at least two.
      seconds: A contender whose timed rounds took longer does no more of them
        than are needed to compare weights.
      logs: The folder for what contenders print.
      say: Shows how far it is.
    """
    with tempfile.TemporaryDirectory(prefix="b-") as folder:
        runs: list[_Run] = []
        try:
            for contender in contenders:
                runs.append(_Run(contender, workload, logs, folder))
                runs[-1].attempt(runs[-1].first)
                say(f"{workload.name}: {contender.name} {runs[-1].words()}")
            for number in range(2, timed_rounds + 2):
                # Each time another one begins.
                turn = number % len(runs)
                for run in runs[turn:] + runs[:turn]:
                    if number > CHECKED and sum(run.seconds) > seconds:
                        run.attempt(run.finish)
                    run.attempt(run.next)
                    if number == CHECKED:
                        run.attempt(run.save_weights)
            for run in runs:
                run.attempt(run.finish)
        finally:
            for run in runs:
                run.child.end()
        finished = [run for run in runs if run.failure is None]
        names = [run.contender.name for run in finished]
        reference = REFERENCE if REFERENCE in names else (names or [""])[0]
        return Outcome(
            _records(workload, finished, reference),
            {r.contender.name: r.failure for r in runs if r.failure},
            {run.contender.name: run.versions for run in finished},
        )


class _Run:
    """A contender at work, and what was measured of it so far."""

    def __init__(
        self, contender: Contender, workload: Workload, logs: str, folder: str
    ):
        self.contender = contender
        self.weights = os.path.join(folder, f"{contender.name}.npz")
        self.versions: Mapping[str, str] = {}
        self.first_seconds = 0.0
        self.peak_mb = 0.0
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.metrics: Mapping[str, float] = {}
        self.failure: Optional[str] = None
        self._finished = False
        self._log = os.path.join(logs, f"{workload.name}.{contender.name}.log")
        temporary = tempfile.mkdtemp(dir=folder)
        self.child = Child(contender, workload, self._log, temporary)

    def attempt(self, step: Callable[[], None]) -> None:
        """Takes a step, unless it is finished; a failure finishes it."""
        if self._finished:
            return
        try:
            step()
        except Failed as error:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                lines = file.read().split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            self.failure = (
                f"{error} ({last.strip()}); see {os.path.relpath(self._log)}"
            )
            self._finished = True
            self.child.end()

    def first(self) -> None:
        """The first round, and all that comes before it."""
        self.child.ask(rounds.ROUND)
        self.first_seconds = self.child.age()
        self.versions = self.child.ask(
            rounds.VERSIONS, packages=self.contender.packages
        )

    def next(self) -> None:
        """One more round."""
        before = self.child.cpu_seconds()
        answer = self.child.ask(rounds.ROUND)
        self.cpu_seconds.append(self.child.cpu_seconds() - before)
        self.seconds.append(answer["seconds"])
        self.metrics = answer["metrics"]

    def save_weights(self) -> None:
        self.child.ask(rounds.WEIGHTS, path=self.weights)

    def finish(self) -> None:
        """Makes room for the others."""
        self.peak_mb = self.child.peak_mb()
        self._finished = True
        self.child.end()

    def words(self) -> str:
        """How its first round was."""
        return self.failure or f"first round after {self.first_seconds:.1f} s"


def _records(
    workload: Workload, runs: Sequence[_Run], reference: str
) -> list[Record]:
    differences = _differences(
        initial_weights(workload),
        {run.contender.name: run.weights for run in runs},
        reference,
    )
    return [
        Record(
            workload=workload.name,
            contender=run.contender.name,
            median_seconds=round(statistics.median(run.seconds), 5),
            min_seconds=round(min(run.seconds), 5),
            max_seconds=round(max(run.seconds), 5),
            timed_rounds=len(run.seconds),
            cpu_seconds=round(statistics.mean(run.cpu_seconds), 4),
            peak_mb=round(run.peak_mb),
            first_round_seconds=round(run.first_seconds, 2),
            relative_difference=differences[run.contender.name],
            reference=reference,
            train_loss=run.metrics.get("loss"),
            train_accuracy=run.metrics.get("accuracy"),
        )
        for run in runs
    ]


def _differences(
    initial: Sequence[np.ndarray], paths: Mapping[str, str], reference: str
) -> dict[str, float]:
    """Contender -> |weights - the reference's| / |reference's - initial|."""

    def distance(
        one: Sequence[np.ndarray], other: Sequence[np.ndarray]
    ) -> float:
        squares = 0.0
        for a, b in zip(one, other):
            squares += np.sum(np.square(a.astype(np.float64) - b))
        return float(np.sqrt(squares))

    def load(name: str) -> list[np.ndarray]:
        with np.load(paths[name]) as arrays:
            return [arrays[key] for key in arrays.files]

    if not paths:
        return {}
    expected = load(reference)
    learned = distance(expected, initial)
    return {name: distance(load(name), expected) / learned for name in paths}
