"""Keeps a training run going: starts it again when its process dies.

The run is a child process that leads a session of its own. Its output is what
it would be without a supervisor, and it goes on from its newest checkpoint to
the same bits. The kernel kills it if the supervisor dies first: no process is
left that holds the run directory.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import storage
from tff_pipeline.flags import exit_status
from tff_pipeline.runs import restarts
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runtime import child_process

_FORWARDED = (signal.SIGINT, signal.SIGTERM)
_LONGEST_PAUSE = 60
_POLL_SECONDS = 0.1
# How often a run is asked within --hang_seconds whether it wrote something.
_LOOKS = 20
_SIGNALLED = 128  # What a shell adds to the signal that ended a process.


class Supervisor:
    """Starts one run again and again, until it ends by itself."""

    def __init__(
        self,
        command: Sequence[str],
        directory: RunDirectory,
        *,
        overwrite: bool,
        max_restarts: int,
        hang_seconds: float,
    ):
        """Makes the object; nothing is started.

        Args:
          command: The program that trains, and its arguments.
          directory: Where it does.
          overwrite: Whether the arguments say to delete the run that is there.
          max_restarts: How often in a row to start it again without a new
            checkpoint.
          hang_seconds: How long it may write no round; 0 for any time.
        """
        self._command = list(command)
        self._directory = directory
        self._overwrite = overwrite
        self._max_restarts = max_restarts
        self._hang_seconds = hang_seconds
        self._process: Optional[subprocess.Popen[bytes]] = None
        # Signals that came: all, and those that the process has not got yet.
        self._came: list[int] = []
        self._waiting: list[int] = []

    def run(self) -> int:
        """Runs the command until it ends by itself or is asked to.

        Returns:
          Its exit status, or 128 and the signal that ended it.

        Raises:
          PipelineError: If it died too often without saving a checkpoint.
        """
        if self._overwrite and storage.exists(self._directory.path):
            restarts.add(self._directory.restarts, overwrites=True)
        in_vain = 0
        with self._forwarding():
            saved = self._saved_round()
            status, hung = self._once(self._command)
            while (answer := exit_status.answer(status)) is None:
                if self._came:
                    break
                before, saved = saved, self._saved_round(saved)
                in_vain = in_vain + 1 if saved == before else 0
                ending = child_process.ending(status)
                if hung:
                    ending = "by --hang_seconds"
                if in_vain > self._max_restarts:
                    raise errors.PipelineError(
                        f"The run ended {ending}, {in_vain} times in a row "
                        f"without a new checkpoint after round {saved} "
                        f"(--max_restarts={self._max_restarts}); mend the "
                        "cause, which it printed above if it could, and give "
                        "the same command again."
                    )
                self._pause(ending, saved, in_vain)
                if self._came:
                    return _SIGNALLED + self._came[-1]
                status, hung = self._once(self._again())
        if answer is not None:
            return answer
        return _SIGNALLED - status if status < 0 else status

    def _once(self, command: Sequence[str]) -> tuple[int, bool]:
        """Runs a process to its end.

        Returns:
          (its status as `subprocess` has it, whether it was killed for hanging)
        """
        process = subprocess.Popen(
            command,
            env={**os.environ, exit_status.SUPERVISED: "1"},
            # Ctrl-C reaches it through this process alone.
            start_new_session=True,
            preexec_fn=child_process.ends_with(os.getpid()),
        )
        self._process = process
        self._forward()
        hung = self._hangs(process.pid)
        self._process = None
        # What it started too. It is not waited for yet, so that its id is
        # still its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait(), hung

    def _hangs(self, process: int) -> bool:
        """Waits for a process; returns whether it hangs instead of ending."""
        written, since = self._written(), time.monotonic()
        looked = since
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, process, how) is None:
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if not self._hang_seconds:
                continue
            if now - looked < self._hang_seconds / _LOOKS:
                continue
            looked, before, written = now, written, self._written()
            if written != before:
                since = now
            elif now - since >= self._hang_seconds:
                return True
        return False

    def _again(self) -> list[str]:
        """Returns the command that goes on where the run stands."""
        if self._overwrite and not self._holds_another():
            # The last word, also over a flagfile's --overwrite.
            return [*self._command, "--nooverwrite"]
        return self._command

    def _holds_another(self) -> bool:
        """Returns whether the run that --overwrite deletes is still there."""
        notes = restarts.read(self._directory.restarts)
        return any("overwrites" in note for note in notes)

    def _pause(self, ending: str, saved: int, in_vain: int) -> None:
        """Says why the run starts again, and waits before it does."""
        seconds = min(2**in_vain, _LONGEST_PAUSE)
        times = ""
        if in_vain:
            times = f"; without a new checkpoint: {in_vain} of "
            times += f"{self._max_restarts} times"
        print(
            f"supervise: the run ended {ending}; it starts again after round "
            f"{saved} in {seconds} s{times}.",
            file=sys.stderr,
            flush=True,
        )
        # A run that ended before it had a folder has none for this either.
        with contextlib.suppress(errors.PipelineError):
            restarts.add(self._directory.restarts, ended=ending, round=saved)
        until = time.monotonic() + seconds
        while not self._came and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def _saved_round(self, known: int = 0) -> int:
        """Returns the newest round with a checkpoint; 0 without one.

        Args:
          known: What is returned if that cannot be read.
        """
        with contextlib.suppress(OSError):
            store = CheckpointStore(self._directory.checkpoints)
            return max(store.rounds(), default=0)
        return known

    def _written(self) -> int:
        """Returns how long the log of rounds is, in bytes; 0 without one."""
        path = self._directory.rounds
        with contextlib.suppress(OSError):
            return storage.file_system(path).size(path)
        return 0

    @contextlib.contextmanager
    def _forwarding(self) -> Iterator[None]:
        """Hands SIGINT and SIGTERM on to the process that runs."""
        previous = {
            each: signal.signal(each, self._receive) for each in _FORWARDED
        }
        try:
            yield
        finally:
            for each, handler in previous.items():
                signal.signal(each, handler)

    def _receive(self, number: int, _: Optional[types.FrameType]) -> None:
        self._came.append(number)
        self._waiting.append(number)
        self._forward()

    def _forward(self) -> None:
        """Sends the process, if one runs, what it has not got yet."""
        # A signal that comes meanwhile may have sent all.
        with contextlib.suppress(IndexError):
            while self._process is not None:
                os.kill(self._process.pid, self._waiting.pop(0))
