"""A contender's process, from the side that started it."""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import processes
from benchmarks.contenders import ROOT, Contender
from benchmarks.workloads import Workload

# No round here takes minutes; a contender that hangs must not hang the others.
_SECONDS = 600
_ENVIRONMENT = {
    # On a machine that has a GPU too, all are measured on the CPU.
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # TFF reaches its worker, and Ray its, through localhost.
    "no_proxy": "localhost,127.0.0.1",
}


class Failed(Exception):
    """A contender ended, or gave no answer; its log says why."""


class Child:
    """A contender at work on one workload."""

    def __init__(
        self, contender: Contender, workload: Workload, log: str, folder: str
    ):
        """Starts the process.

        Args:
          contender: Which one.
          workload: What it works on.
          log: The file for what it prints.
          folder: For its temporary files; one with a short path, for Ray makes
            sockets in it.
        """
        self._started = time.perf_counter()
        their_commands, commands = os.pipe()
        answers, their_answers = os.pipe()
        arguments = [contender.name, workload.name]
        arguments += [str(their_commands), str(their_answers)]
        with open(log, "w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                [contender.python, "-m", "benchmarks.contender", *arguments],
                cwd=ROOT,
                env={
                    **os.environ,
                    **_ENVIRONMENT,
                    "TMPDIR": folder,
                    "RAY_TMPDIR": folder,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(their_commands, their_answers),
                # Ctrl-C is for the benchmark, which then ends its children.
                start_new_session=True,
            )
        os.close(their_commands)
        os.close(their_answers)
        self._commands = os.fdopen(commands, "w")
        self._answers = os.fdopen(answers)

    def ask(self, do: str, **arguments: Any) -> Mapping[str, Any]:
        """Gives a command and waits for its answer.

        Raises:
          Failed: If there is none.
        """
        try:
            self._commands.write(json.dumps({"do": do, **arguments}) + "\n")
            self._commands.flush()
        except BrokenPipeError:
            raise Failed("it ended") from None
        if not select.select([self._answers], [], [], _SECONDS)[0]:
            raise Failed(f"no answer in {_SECONDS} seconds")
        answer = self._answers.readline()
        if not answer:
            raise Failed("it ended")
        return json.loads(answer)

    def age(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self._started

    def cpu_seconds(self) -> float:
        """Of the process and its descendants until now."""
        return processes.cpu_seconds(self._process.pid)

    def peak_mb(self) -> float:
        """Of the process and its descendants until now."""
        return processes.peak_mb(self._process.pid)

    def end(self) -> None:
        """Kills the process and its descendants; twice is once."""
        # Descendants first: those of a process that is gone cannot be told.
        processes.end_descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        self._answers.close()
        # What is left in its buffer was for a process that is gone.
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()
