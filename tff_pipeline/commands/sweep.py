"""Trains the trials of a sweep, each in a process of its own.

SWEEP/
  NAME/              the run directory of a trial, named by its settings
  flags/NAME.flags   what it is trained with
  logs/NAME.txt      what it printed
  hopeless.json      trials that were ended early, and after which round
  suggestions.jsonl  with --vizier, what was chosen and told, in order
  trials.csv, comparison.html, settings.csv, runs.csv

A sweep that was killed goes on: trials that are complete are not trained again,
and the others go on from their checkpoints.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Optional, Protocol

from tff_pipeline import errors
from tff_pipeline.commands import median_rule, sweep_files
from tff_pipeline.commands.compare import readable
from tff_pipeline.commands.trial import Trial
from tff_pipeline.commands.trials import Settings, name_of
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable, storage
from tff_pipeline.reporting import comparison, read_run
from tff_pipeline.reporting.read_run import Run
from tff_pipeline.runs import complete, lock
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.metric_names import lower_is_better
from tff_pipeline.runtime import child_process

_POLL_SECONDS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SIGNALLED = 128  # What a shell adds to the signal that ended a process.


class Search(Protocol):
    """Where the trials of a sweep come from."""

    # The number of trials.
    count: int

    def next(self) -> Optional[Settings]:
        """Returns the settings of the next trial; `None` after the last."""

    def tell(self, settings: Settings, value: Optional[float]) -> None:
        """Takes a trial's result; `None` if it has none."""


class Sweep:
    """Trains the trials that a search chooses."""

    def __init__(
        self,
        folder: str,
        search: Search,
        config_of: Callable[[Settings, str], ExperimentConfig],
        command: Sequence[str],
        *,
        parallel: int,
        metric: Optional[str],
        warm_up: Optional[int],
        overwrite: bool,
    ):
        """Makes the object; nothing is written or started.

        Args:
          folder: The sweep's folder.
          search: Chooses the trials.
          config_of: Returns a trial's experiment from its settings and folder.
          command: The program that trains, and its arguments.
          parallel: How many trials run side by side.
          metric: The metric that tells which is best; see
            `comparison.compare`.
          warm_up: The first round after which a hopeless trial is ended;
            `None` to end none.
          overwrite: Whether to delete the trials that are there.
        """
        self._folder = folder
        self._search = search
        self._config_of = config_of
        self._command = list(command)
        self._parallel = parallel
        self._metric = metric
        self._warm_up = warm_up
        self._overwrite = overwrite
        self._hopeless_path = os.path.join(folder, "hopeless.json")
        self._hopeless: dict[str, int] = {}
        self._signal: Optional[int] = None
        self.trials: list[Trial] = []

    def run(self) -> int:
        """Trains all trials, and writes what they reached.

        Returns:
          0 if each trial ended, 1 if one failed, or 128 and the signal that
          stopped the sweep.

        Raises:
          ConfigError: If a trial's folder holds another experiment's run.
          RunDirectoryError: If the folder cannot be written, or another sweep
            runs in it.
        """
        with (
            lock.held(os.path.join(self._folder, "sweep.lock")),
            self._listening(),
        ):
            self._hopeless = {} if self._overwrite else self._read_hopeless()
            try:
                self._train()
            finally:
                self._end_all()
        if self._signal is not None:
            return _SIGNALLED + self._signal
        return int(any(trial.state == "failed" for trial in self.trials))

    def _train(self) -> None:
        more = True
        while True:
            while more and self._signal is None and self._free():
                settings = self._search.next()
                more = settings is not None
                if settings is not None:
                    self._begin(settings)
            running = self._running()
            if not running and (not more or self._signal is not None):
                return
            for trial in running:
                if trial.process is not None and trial.process.poll() is None:
                    self._end_if_hopeless(trial)
                else:
                    self._settle(trial)
            time.sleep(_POLL_SECONDS)

    def _free(self) -> bool:
        return len(self._running()) < self._parallel

    def _running(self) -> list[Trial]:
        return [each for each in self.trials if each.state == "running"]

    def _begin(self, settings: Settings) -> None:
        """Starts a trial, unless it ended before."""
        name = name_of(settings)
        path = os.path.join(self._folder, name)
        trial = Trial(name, settings, RunDirectory(path))
        self.trials.append(trial)
        config = self._config_of(settings, path)
        if not self._overwrite:
            if complete.find(trial.directory, config) is not None:
                trial.state, trial.why = "finished", "it was here already"
            elif self._warm_up is not None and name in self._hopeless:
                trial.state = "hopeless"
                trial.why = f"ended before, after round {self._hopeless[name]}"
        if trial.state != "waiting":
            self._tell(trial)
            return
        flags = os.path.join(self._folder, "flags", f"{name}.flags")
        with durable.explained(self._folder):
            for each in ("flags", "logs"):
                os.makedirs(os.path.join(self._folder, each), exist_ok=True)
        durable.write_text(flags, config.flagfile())
        command = [*self._command, f"--flagfile={flags}"]
        command.append(f"--output_dir={path}")
        if self._overwrite:
            command.append("--overwrite")
        with durable.explained(self._log(trial)), self._log_file(trial) as log:
            trial.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches it through this process alone.
                start_new_session=True,
                preexec_fn=child_process.ends_with(os.getpid()),
            )
        trial.state = "running"
        self._say(trial, "starts")

    def _log(self, trial: Trial) -> str:
        return os.path.join(self._folder, "logs", f"{trial.name}.txt")

    def _log_file(self, trial: Trial) -> BinaryIO:
        return open(self._log(trial), "wb")

    def _settle(self, trial: Trial) -> None:
        """Says how a trial ended whose process did."""
        assert trial.process is not None
        status, trial.process = trial.process.wait(), None
        run = trial.run()
        if status != 0:
            trial.state = "failed"
            trial.why = trial.last_words(self._log(trial), status)
        elif trial.name in self._hopeless and not (run and run.ended):
            trial.state = "hopeless"
            trial.why = f"ended after round {self._hopeless[trial.name]}"
        elif run is not None and (run.ended or self._ended_by_budget(run)):
            trial.state = "finished"
        else:
            trial.state, trial.why = "stopped", "the same command goes on"
        self._tell(trial)
        self._write_trials()

    def _ended_by_budget(self, run: Run) -> bool:
        """Tells of a run that stopped by itself whether its budget is spent."""
        budget = run.config.privacy.dp_max_epsilon
        return budget is not None and self._signal is None

    def _tell(self, trial: Trial) -> None:
        """Says what became of a trial, also to the search."""
        run = trial.run()
        value, shown = None, ""
        if run is not None:
            with contextlib.suppress(errors.ConfigError):
                column = comparison.column_of([run], self._metric)
                value = run.final(column)
                shown = f", {column} {value:.4g}"
        # A trial that was stopped is told when it goes on.
        if trial.state == "hopeless" or trial.state == "finished":
            self._search.tell(trial.settings, value)
        elif trial.state == "failed":
            self._search.tell(trial.settings, None)
        why = trial.why and f" ({trial.why})"
        self._say(trial, f"{trial.state}{shown}{why}")

    def _say(self, trial: Trial, words: str) -> None:
        place = self.trials.index(trial) + 1
        print(
            f"[{place}/{self._search.count}] {trial.name}: {words}", flush=True
        )

    def _end_if_hopeless(self, trial: Trial) -> None:
        if self._warm_up is None or trial.name in self._hopeless:
            return
        run = trial.run()
        if run is None:
            return
        others = [
            other
            for other in (each.run() for each in self.trials)
            if other is not None and other.path != run.path
        ]
        try:
            column = comparison.column_of([run, *others], self._metric)
        except errors.ConfigError:  # Nothing has been evaluated yet.
            return
        last = median_rule.hopeless(
            run.curve(column),
            [other.curve(column) for other in others],
            lower_is_better(column),
            self._warm_up,
        )
        if last is not None and trial.process is not None:
            # Known before it ends, so that a sweep that dies now knows it too.
            self._hopeless[trial.name] = last
            durable.write_text(
                self._hopeless_path, json.dumps(self._hopeless, indent=2) + "\n"
            )
            # It finishes its round and saves.
            trial.process.send_signal(signal.SIGTERM)

    def _read_hopeless(self) -> dict[str, int]:
        try:
            content = json.loads(storage.read_text(self._hopeless_path))
        except (OSError, ValueError):
            return {}
        return dict(content) if isinstance(content, Mapping) else {}

    def _write_trials(self) -> None:
        runs, _ = readable(self._paths())
        sweep_files.write_trials(self._folder, self.trials, runs, self._metric)

    def _paths(self) -> list[str]:
        return [
            trial.directory.path
            for trial in self.trials
            if storage.exists(trial.directory.metrics)
        ]

    def report(self) -> list[str]:
        """Writes the sweep's files; returns lines on what the trials reached.

        Raises:
          RunDirectoryError: If a file cannot be written.
        """
        runs, notes = readable(self._paths())
        everything, _ = (
            readable(read_run.find([self._folder]))
            if runs
            else (
                [],
                [],
            )
        )
        return sweep_files.write(
            self._folder, self.trials, runs, everything, notes, self._metric
        )

    def _end_all(self) -> None:
        """Ends what still runs, where the sweep itself failed."""
        for trial in self._running():
            if trial.process is not None:
                trial.process.kill()
                trial.process.wait()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Hands SIGINT and SIGTERM on to the trials, which save and stop."""
        previous = {each: signal.signal(each, self._stop) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    def _stop(self, number: int, _: Optional[types.FrameType]) -> None:
        self._signal = number
        for trial in self._running():
            if trial.process is not None:
                trial.process.send_signal(number)
