"""What the figures were measured on."""

import os
import platform
from typing import Optional


def words() -> str:
    """The machine in a line: processor, cores, memory, system."""
    processor = _field("/proc/cpuinfo", "model name") or platform.machine()
    kilobytes = int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return (
        f"{processor}, {len(os.sched_getaffinity(0))} cores, "
        f"{kilobytes / 2**20:.0f} GiB, {platform.system()}"
    )


def _field(path: str, name: str) -> Optional[str]:
    """The first value of that name in a file of "name: value" lines."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return None
