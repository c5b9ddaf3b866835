"""The profile of a run, for `--profile`: seconds of its start and rounds."""

import contextlib
import os
import time
from collections.abc import Iterator

import tensorflow as tf

from tff_pipeline import timing

# The phases of a round on the main thread, one after the other.
_PHASES = (
    "reading",
    "client work",
    "aggregation",
    "server",
    "evaluation",
    "disk",
)
# Phase -> the span of the work that it waits for, and words for it.
_BESIDE = {
    "reading": ("reading ahead", "waiting; reading ahead in a thread took"),
    "client work": ("clients", "waiting; clients in all threads took"),
    "disk": ("checkpoint", "waiting; checkpoints took"),
}
# The spans of the start, before the first round.
_START = ("data", "building")
_TRACED = 3


class Profile:
    """Takes times and a trace; `recorded` must be around all of a run."""

    def __init__(self, trace_dir: str):
        """Keeps the arguments; nothing is measured before `recorded`.

        Args:
          trace_dir: Folder for the trace of a few rounds, in the format of
            TensorBoard's profiler.
        """
        self._trace_dir = trace_dir
        self._start: dict[str, float] = {}
        self._rounds: list[float] = []
        self._seconds = timing.Seconds(float)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Counts the spans of `timing` inside the block, all of the run."""
        self._start = {"imports": _seconds_since_start()}
        with timing.recording() as self._seconds:
            try:
                yield
            finally:
                if 1 < len(self._rounds) <= _TRACED:
                    tf.profiler.experimental.stop()

    @contextlib.contextmanager
    def round(self, number: int) -> Iterator[None]:
        """Measures one round inside the block, from reading to checkpoint.

        Args:
          number: The round's number, 1 or above.
        """
        done = len(self._rounds)
        if done == 0:
            self._start.update({n: self._seconds[n] for n in _START})
        elif done == 1:
            tf.profiler.experimental.start(self._trace_dir)
        began = time.perf_counter()
        try:
            with tf.profiler.experimental.Trace("round", step_num=number, _r=1):
                yield
        finally:
            self._rounds.append(time.perf_counter() - began)
            if done == 0:
                self._start["first round"] = self._rounds[0]
                self._seconds.clear()
            elif done == _TRACED:
                tf.profiler.experimental.stop()

    def report(self) -> str:
        """Returns the figures as text of several lines.

        Rounds are described by their mean, the first one excluded.
        """
        lines = [
            f"{sum(self._start.values()):.1f} s from the command to the end of "
            "the first round: "
            + ", ".join(f"{n} {s:.1f}" for n, s in self._start.items())
            + "."
        ]
        rounds = self._rounds[1:]
        if not rounds:
            return lines[0]
        mean = {n: s / len(rounds) for n, s in self._seconds.items()}
        whole = sum(rounds) / len(rounds)
        mean["other"] = whole - sum(mean.get(name, 0) for name in _PHASES)
        lines.append(
            f"{1000 * whole:.1f} ms a round, the mean of {len(rounds)} after "
            "the first:"
        )
        for name in (*_PHASES, "other"):
            seconds = mean.get(name, 0.0)
            line = f"  {name:<12}{1000 * seconds:9.2f} ms{seconds / whole:5.0%}"
            if name in _BESIDE:
                span, words = _BESIDE[name]
                line += f"   {words} {1000 * mean.get(span, 0):.2f}"
            lines.append(line)
        last = min(_TRACED, len(rounds)) + 1
        lines.append(f"Trace of rounds 2 to {last}: {self._trace_dir}")
        return "\n".join(lines)


def _seconds_since_start() -> float:
    """Seconds that this process has been running, by the kernel's clock."""
    with open("/proc/self/stat") as file:
        # Its 22nd field; the second, the name in brackets, may hold spaces.
        ticks = int(file.read().rpartition(")")[2].split()[19])
    started = ticks / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
