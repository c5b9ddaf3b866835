"""Compares the memory that a run needs with what this machine has free."""

import os
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.tasks.task import Task


def check(config: ExperimentConfig, task: Task) -> None:
    """Checks that a large model's training fits into this machine's memory.

    Args:
      config: The experiment.
      task: Its task.

    Raises:
      ConfigError: If it needs more than there is, by its own estimate; the
        sentence says how much, and what makes it less.
    """
    if task.memory_fn is None or config.run.runtime != "in_process":
        return
    clients = config.clients
    threads = config.run.client_threads or len(os.sched_getaffinity(0))
    threads = min(threads, clients.clients_per_round)
    at_once = min(
        clients.batch_size, clients.micro_batch_size or clients.batch_size
    )
    once, each = task.memory_fn(at_once)
    needed, there = once + threads * each, _available()
    if there is None or needed <= there:
        return
    raise errors.ConfigError(
        f"--task={task.name} needs about {needed / 1e9:.1f} GB "
        f"({once / 1e9:.1f} GB of weights, and {each / 1e9:.1f} GB for each "
        f"of {threads} clients that train at once), and "
        f"{there / 1e9:.1f} GB are free; set "
        "--client_threads=1, a smaller --client_micro_batch_size or "
        "--sequence_length, --recompute, or --base_dtype=bfloat16."
    )


def _available() -> Optional[int]:
    """Returns the bytes that are free on this machine; `None` if not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
