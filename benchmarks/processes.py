"""A process and all its descendants: their time, their memory, their end.

Read from /proc with the standard library alone, for it is imported in every
peer's environment.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose parent ends.

    Workers that detach themselves are then still found, measured and ended.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Process ids of all descendants that live, parents first."""
    children: dict[int, list[int]] = {}
    for each, fields in _all_processes():
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(each)
    found = list(children.get(pid, ()))
    for each in found:  # Which grows as it goes.
        found += children.get(each, ())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of `pid` and its descendants, dead ones included."""
    wanted = {pid, *descendants(pid)}
    # utime, stime, and those of children that ended.
    return sum(
        sum(map(int, fields[11:15])) / _TICKS
        for each, fields in _all_processes()
        if each in wanted
    )


def peak_mb(pid: int) -> float:
    """The most memory that each of them has held, in MB, summed up.

    Pages that several of them share are counted in each.
    """
    total = 0
    for each in [pid, *descendants(pid)]:
        for line in _lines(f"/proc/{each}/status"):
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total / 1024


def end_descendants(pid: int) -> None:
    """Kills all descendants, and those that they start meanwhile."""
    deadline = time.monotonic() + 10
    while (alive := descendants(pid)) and time.monotonic() < deadline:
        for each in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        time.sleep(0.01)


def _all_processes() -> Iterator[tuple[int, list[str]]]:
    """Every process: its id, and the fields of its stat from the third on."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = "".join(_lines(f"/proc/{name}/stat"))
            if stat:
                # The second field, in parentheses, may hold anything.
                yield int(name), stat.rpartition(")")[2].split()


def _lines(path: str) -> list[str]:
    """Of a file in /proc; none if its process is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []
