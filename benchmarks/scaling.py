"""Measures rounds in one process and on Ray workers, and fits a cost model.

    python -m benchmarks.scaling [--turns=3] [--rounds=5] [--page]

Each measurement is a process of its own, and the ways take turns. Clients train
McMahan's CNN of 1,663,370 weights (or the 2NN of 199,210) on made-up pictures,
100 examples each, in shards of four. `--page` writes the tables into
docs/scaling.md.
"""

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.scaling_model import SHARD, WAYS, Way, tables
from tff_pipeline.files import durable

_PAGE = "docs/scaling.md"
_BEGIN, _END = "<!-- measured -->", "<!-- end -->"


def measured(way: Way, rounds: int) -> Mapping[str, float]:
    """Measures a way in this process.

    Args:
      way: The way.
      rounds: The number of rounds that count; one before them compiles.

    Returns:
      Medians over rounds: wall seconds, CPU seconds of the driver and of all
      workers, bytes that a round sends and receives in all, and the bytes that
      the processes grew by from the second to the last round.
    """
    # TensorFlow is of no use to the process that starts the others.
    from benchmarks import scaling_clients as clients
    from tff_pipeline.runtime.in_process import InProcessContext
    from tff_pipeline.runtime.ray.worker import usage_here

    built, weights = clients.algorithm_of(way.model, way.clients)
    reader = clients.MadeUp(way.model)
    if way.workers:
        from tff_pipeline.runtime.ray.context import RayContext
        from tff_pipeline.runtime.ray.options import PoolOptions

        context: Any = RayContext(
            reader,
            {},
            "local",
            PoolOptions(workers=way.workers, min_workers=way.workers),
            SHARD,
        )
    else:
        context = InProcessContext(1, SHARD)
    seconds, driver, workers, memory = [], [], [], []
    with context:
        state = built.initial_state(weights)
        if way.workers:
            context.workers.wait_for(way.workers)
        for number in range(rounds + 1):
            cohort: Sequence[Any] = clients.cohort(number, way.clients)
            usage = context.workers.usage() if way.workers else []
            before = sum(each["cpu_seconds"] for each in usage)
            began, cpu = time.perf_counter(), usage_here()["cpu_seconds"]
            if not way.workers:
                cohort = [reader.read(each) for each in cohort]
            state, _, _ = built.run_round(state, cohort, ())
            seconds.append(time.perf_counter() - began)
            driver.append(usage_here()["cpu_seconds"] - cpu)
            usage = context.workers.usage() if way.workers else []
            after = sum(each["cpu_seconds"] for each in usage)
            workers.append(after - before)
            memory.append(
                sum(each["bytes"] for each in usage) + usage_here()["bytes"]
            )
        sent = _bytes(context, built, state, way) if way.workers else (0, 0)
    return {
        "seconds": statistics.median(seconds[1:]),
        "driver_cpu": statistics.median(driver[1:]),
        "worker_cpu": statistics.median(workers[1:]),
        "bytes_down": sent[0],
        "bytes_up": sent[1],
        "grown": memory[-1] - memory[1],
    }


def _bytes(context: Any, built: Any, state: Any, way: Way) -> tuple[int, int]:
    """Counts what one more round sends to the workers, and gets back."""
    from benchmarks import scaling_clients as clients

    counted = [0, 0]
    compute = context.workers.compute

    def counting(program: Any, broadcast: Any, shards: Any) -> Iterator[Any]:
        # Once to each machine, and here each worker counts as one.
        counted[0] += len(pickle.dumps(broadcast, 5)) * way.workers
        counted[0] += sum(len(pickle.dumps(each, 5)) for each in shards)
        for result in compute(program, broadcast, shards):
            counted[1] += len(pickle.dumps(result, 5))
            yield result

    context.workers.compute = counting
    built.run_round(state, clients.cohort(99, way.clients), ())
    return counted[0], counted[1]


def main() -> None:
    """Measures all ways in turns, and prints or writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--way", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        print(json.dumps(measured(WAYS[arguments.way], arguments.rounds)))
        return
    found: dict[Way, list[Mapping[str, float]]] = {way: [] for way in WAYS}
    for turn in range(arguments.turns):
        for number, way in enumerate(WAYS):
            command = [sys.executable, "-m", "benchmarks.scaling"]
            command += [f"--way={number}", f"--rounds={arguments.rounds}"]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True
            )
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"turn {turn + 1}, {way}: {found[way][-1]}", flush=True)
    medians = {
        way: {
            name: statistics.median(each[name] for each in all_turns)
            for name in all_turns[0]
        }
        for way, all_turns in found.items()
    }
    lines = tables(medians)
    print("\n".join(lines))
    if arguments.page:
        with open(_PAGE, encoding="utf-8") as file:
            text = file.read()
        before, after = text.split(_BEGIN)[0], text.split(_END)[1]
        durable.write_text(
            _PAGE, "\n".join([before + _BEGIN, *lines, _END]) + after
        )


if __name__ == "__main__":
    main()
