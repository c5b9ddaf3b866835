"""Measures what algorithms cost in a round beside FedAvg, which take turns.

    python -m benchmarks.algorithm_cost [ROUNDS]

One process, one runtime, the same clients, steps and weights; each algorithm
runs one round, then the next one does. Prints the median over turns of each
round's ratio to FedAvg's of the same turn, and, of algorithms whose clients
keep something, the milliseconds that reading and writing it takes, with 300
clients and McMahan's network of 199,210 weights.
"""

import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np

from tff_pipeline.assembly import process
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.block import client_block
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.models.dense import two_hidden_layers
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

_ROUNDS = 20
_ALGORITHMS = (
    *("fed_avg", "fed_prox", "fed_nova", "fed_dyn", "fed_per", "fed_rep"),
    *("fed_recon", "fed_buff", "scaffold", "mime_lite", "mime", "ditto"),
    "ifca",
)
_COHORT, _POPULATION, _EXAMPLES, _EPOCHS = 10, 300, 600, 2


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    task = _task()
    weights = initial_weights(task, 0)
    blocks = [
        client_block(task.test, key=number, round_number=1)
        for number in range(_COHORT)
    ]
    seconds: dict[str, list[float]] = {name: [] for name in _ALGORITHMS}
    disk: dict[str, list[float]] = {name: [] for name in _ALGORITHMS}
    with tempfile.TemporaryDirectory() as folder, InProcessContext():
        runs: dict[str, Any] = {}
        for name in _ALGORITHMS:
            built = process.build_algorithm(_config(name), task, Protection())
            kept = None
            if built.initial_kept_state is not None:
                kept = KeptStates(f"{folder}/{name}", built.initial_kept_state)
            runs[name] = [built, built.initial_state(weights), kept]
        for turn in range(rounds + 1):
            for name, run in runs.items():
                took = _round(run, blocks, turn)
                # The first turn compiles.
                if turn:
                    seconds[name].append(took[0])
                    disk[name].append(took[1])
            if turn:
                print(f"turn {turn} of {rounds}", file=sys.stderr, flush=True)
    print(f"{'':12} {'ms':>8} {'/ fed_avg':>9} {'kept, ms':>9}")
    for name in _ALGORITHMS:
        ratio = statistics.median(
            own / base for own, base in zip(seconds[name], seconds["fed_avg"])
        )
        print(
            f"{name:12} {1e3 * statistics.median(seconds[name]):8.0f} "
            f"{ratio:9.2f} {1e3 * statistics.median(disk[name]):9.0f}"
        )


def _task() -> Task:
    """Makes 300 clients, each with the same made-up examples."""
    draw = np.random.default_rng(0)
    examples = Examples(
        draw.integers(256, size=[_EXAMPLES, 28, 28, 1]).astype(np.uint8),
        draw.integers(10, size=_EXAMPLES).astype(np.int32),
    )
    everything = np.arange(_EXAMPLES)
    clients = {f"client_{i}": everything for i in range(_POPULATION)}
    return Task(
        "made_up",
        InMemoryData(examples, clients),
        examples,
        lambda: two_hidden_layers([28, 28, 1], 1 / 255, 10),
    )


def _config(name: str) -> ExperimentConfig:
    return ExperimentConfig(
        algorithm=AlgorithmConfig(name),
        clients=ClientConfig(
            clients_per_round=_COHORT,
            batch_size=10,
            epochs_per_round=_EPOCHS,
            optimizer=OptimizerConfig("client", "sgd", 0.01),
        ),
    )


def _round(run: list[Any], blocks: Any, turn: int) -> tuple[float, float]:
    """Runs a round; returns the seconds without and of what clients keep."""
    built, state, kept = run
    names = [
        f"client_{(turn * _COHORT + i) % _POPULATION}" for i in range(_COHORT)
    ]
    began = time.perf_counter()
    rows = () if kept is None else kept.rows(names)
    read = time.perf_counter()
    state, _, rows = built.run_round(state, blocks, rows)
    computed = time.perf_counter()
    if kept is not None:
        kept = kept.updated(names, rows)
    written = time.perf_counter()
    run[1:] = state, kept
    return computed - read, written - computed + read - began


if __name__ == "__main__":
    main()
