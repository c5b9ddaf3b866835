"""Measures what a checkpoint costs where every client keeps state.

    python -m benchmarks.kept_state_cost [--distinct=3400] [--folder=DIR]

Gives 3,400 clients a row of 1.2 million float32 each, and then runs rounds of
10 clients: reads their rows, changes them, writes them, saves a checkpoint.
Prints the bytes that a round hands to the file system, its seconds, and by how
much the process's memory rises above what it was before the round. A row is
4.8 MB, so all rows take 16 GB; by default only 100 of them differ, and 34
clients share a file each, which the index and the rounds do not notice.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates

_ROUNDS = 5


def _status(path: str, name: str) -> int:
    with open(path, encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[name].split()[0])


@contextlib.contextmanager
def _measured(what: str) -> Iterator[None]:
    """Prints seconds, MB written and MB of memory of the block."""
    # Makes the highest memory so far the present one.
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    memory = _status("/proc/self/status", "VmRSS")
    written = _status("/proc/self/io", "wchar")
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    written = _status("/proc/self/io", "wchar") - written
    memory = _status("/proc/self/status", "VmHWM") - memory
    print(
        f"{what}: {seconds:.2f} s, {written / 1e6:.1f} MB written, memory "
        f"+{memory / 1e3:.0f} MB",
        flush=True,
    )


def _population(
    folder: str, initial: np.ndarray, clients: int, distinct: int, cohort: int
) -> KeptStates:
    draw, kept = np.random.default_rng(0), KeptStates(folder, initial)
    for first in range(0, distinct, cohort):
        rows = [
            draw.normal(size=initial.size).astype(np.float32)
            for _ in range(first, min(first + cohort, distinct))
        ]
        for start in range(first, clients, distinct):
            ids = [f"client {start + i}" for i in range(len(rows))]
            kept = kept.updated(ids, rows)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=3_400)
    parser.add_argument("--parameters", type=int, default=1_200_000)
    parser.add_argument("--cohort", type=int, default=10)
    parser.add_argument("--distinct", type=int, default=100)
    parser.add_argument("--folder", default=None)
    options = parser.parse_args()
    initial = np.zeros(options.parameters, np.float32)
    state = {"weights": [initial]}
    draw = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        kept = _population(
            folder, initial, options.clients, options.distinct, options.cohort
        )
        store = CheckpointStore(folder, keep=2)
        with _measured("The first checkpoint, rows written before"):
            store.save(1, state, kept)
        for number in range(2, 2 + _ROUNDS):
            places = draw.choice(options.clients, options.cohort, replace=False)
            ids = [f"client {place}" for place in places]
            with _measured(f"Round {number} and its checkpoint"):
                rows = [row + np.float32(number) for row in kept.rows(ids)]
                kept = kept.updated(ids, rows)
                del rows
                store.save(number, state, kept)
        with _measured("The digest for the log"):
            kept.digest()
        with _measured("Going on from the newest checkpoint"):
            store.load_latest(state, KeptStates(folder, initial))
        with _measured("The full check of verify.py"):
            store.check(number)
        rows = len(os.listdir(os.path.join(folder, "kept_rows")))
        size = rows * initial.nbytes / 1e9
        print(f"{len(kept.client_ids)} clients, {rows} files, {size:.1f} GB")


if __name__ == "__main__":
    main()
