"""Measures what a secure sum costs, and prints the tables of its page.

    python -m benchmarks.secure_sum [--clients=100] [--parameters=1000000]

Sums up vectors on the grid of 20 bits that secure_mean has by default, which
takes 27 bits a number for 100 clients, by --secure_aggregation=bonawitz, with
all clients and the server in this process, on as many threads as it has cores.
Prints for each number of neighbours and drop-out: the seconds until the sum is
there, the processor's seconds in all, of one client and of the server, and the
bytes that a client sends and receives. The sum is compared with numpy's; a row
is "lost" where too few of a neighbourhood were left. The second table is
arithmetic: how likely a neighbourhood falls below its threshold, or holds
enough that collude.
"""

import argparse
import concurrent.futures
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Optional

import numpy as np
from scipy import stats

from benchmarks import machine
from tff_pipeline.secure_sum.bonawitz import Bonawitz, Stage
from tff_pipeline.secure_sum.layout import Segment, bits_of_sum
from tff_pipeline.secure_sum.refusals import TooFewClientsError

_NEIGHBOURS = (None, 30, 20)
_DROPOUTS = (0.0, 0.1, 0.3)
# The largest number of a grid of 20 bits.
_LARGEST = 2**20 - 2


class _Clients:
    """Runs clients on threads, and counts their processor seconds."""

    def __init__(self, pool: concurrent.futures.Executor):
        self._pool, self._lock = pool, threading.Lock()
        self.seconds = 0.0

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[Any]:
        def timed(item: Any) -> Any:
            began = time.thread_time()
            result = function(item)
            with self._lock:
                self.seconds += time.thread_time() - began
            return result

        return self._pool.map(timed, items)


def _row(
    num_clients: int,
    parameters: int,
    neighbours: Optional[int],
    dropout: float,
) -> str:
    lost = int(dropout * num_clients)
    bits = bits_of_sum(num_clients, _LARGEST)
    largest = _LARGEST - num_clients  # Each client adds its number.
    vector = np.random.default_rng(0).integers(0, largest, parameters)
    protocol = Bonawitz(
        neighbours,
        drop_out=lambda _, client: Stage.MASKED if client < lost else None,
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        clients = _Clients(pool)
        wall, processor = time.perf_counter(), time.process_time()
        run = protocol.begin(
            num_clients, (Segment(parameters, bits),), clients.map
        )
        in_order = clients.map(
            lambda client: run.masked(client, [vector + client]),
            range(num_clients),
        )
        for message in in_order:
            run.receive(message)
        try:
            (total,) = run.result()
        except TooFewClientsError:
            return f"| {_named(neighbours)} | {dropout:.0%} | lost |" + " |" * 5
        wall = time.perf_counter() - wall
        processor = time.process_time() - processor
    left = range(lost, num_clients)
    assert np.array_equal(total, (vector * len(left) + sum(left)) % 2**bits)
    return (
        f"| {_named(neighbours)} | {dropout:.0%} "
        f"| {wall:.1f} | {processor:.1f} | {clients.seconds / num_clients:.3f} "
        f"| {processor - clients.seconds:.1f} "
        f"| {run.bytes_up[-1] / 1e6:.3f} | {run.bytes_down[-1] / 1e3:.1f} |"
    )


def _named(neighbours: Optional[int]) -> str:
    return "all" if neighbours is None else str(neighbours)


def _odds(num_clients: int, neighbours: int, threshold: int) -> str:
    """A row of chances: lost rounds, and clients that are given away."""
    size, others = neighbours + 1, num_clients - 1

    def lost(dropout: float) -> float:
        # Any one of the neighbourhoods, at most (the union bound).
        gone = stats.hypergeom(num_clients, int(dropout * num_clients), size)
        return min(1.0, num_clients * gone.sf(size - threshold))

    def given_away(colluding: float, most: int) -> float:
        bad = stats.hypergeom(others, int(colluding * others), neighbours)
        return bad.sf(most)

    return (
        f"| {neighbours} | {threshold} | {_chance(lost(0.1))} "
        f"| {_chance(lost(0.3))} | {_chance(given_away(0.2, threshold - 1))} "
        f"| {_chance(given_away(0.2, 2 * threshold - size - 1))} |"
    )


def _chance(probability: float) -> str:
    if probability < 1e-9:
        return "< 1e-9"
    return f"{probability:.1e}" if probability < 0.01 else f"{probability:.0%}"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    options = parser.parse_args()
    print(machine.words())
    load = os.getloadavg()[0]
    print(
        f"{options.clients} clients, {options.parameters:,} numbers; ", end=""
    )
    print(f"load of the machine before: {load:.1f}\n")
    print(
        "| neighbours | drop-out | seconds | processor seconds | of a client "
        "| of the server | MB up | kB down |\n" + "|---" * 8 + "|",
        flush=True,
    )
    for neighbours in _NEIGHBOURS:
        for dropout in _DROPOUTS:
            row = _row(options.clients, options.parameters, neighbours, dropout)
            print(row, flush=True)
    print(
        "\n| neighbours | threshold | lost at 10% drop-out | at 30% | given "
        "away if 20% collude | and the server lies |\n" + "|---" * 6 + "|"
    )
    for neighbours, threshold in (
        (options.clients - 1, options.clients // 2 + 1),
        (options.clients - 1, 2 * options.clients // 3 + 1),
        (30, 16),
        (30, 21),
        (20, 11),
        (50, 26),
    ):
        if neighbours < options.clients:
            print(_odds(options.clients, neighbours, threshold))


if __name__ == "__main__":
    main()
