"""What differential privacy costs in a round: aggregators taking turns.

python -m benchmarks.dp_overhead [ROUNDS]

One process, one runtime, the same clients and weights; each aggregator runs one
round, then the next one does. Prints the median round of each, and its ratio to
the weighted mean's of the same turn.
"""

import statistics
import sys
import time

import numpy as np
import tensorflow_federated as tff

from benchmarks.contenders import learning_process
from benchmarks.workloads import WORKLOADS, Workload, client_data
from tff_pipeline.aggregators import chain
from tff_pipeline.aggregators.aggregation import AggregationContext
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.block import client_block
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.privacy import PRIVACY_OPTIONS
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.privacy import mechanisms, plan
from tff_pipeline.runtime.in_process import InProcessContext

_POPULATION = 1000
_ROUNDS = 30
_AGGREGATORS = ("mean", *PRIVACY_OPTIONS)
_WORKLOADS = ("2nn_50_ragged",)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    for name in _WORKLOADS:
        _compare(WORKLOADS[name], rounds)


def _compare(workload: Workload, rounds: int) -> None:
    blocks = []
    for number, (x, y) in enumerate(client_data(workload)):
        blocks.append(client_block(Examples(x, y), number))
    seconds: dict[str, list[float]] = {name: [] for name in _AGGREGATORS}
    with InProcessContext():
        runs = {name: _build(workload, name) for name in _AGGREGATORS}
        states = {name: run.initialize() for name, run in runs.items()}
        for number in range(rounds + 2):
            for name, run in runs.items():
                began = time.perf_counter()
                states[name] = run.next(states[name], blocks).state
                # The first rounds trace and compile.
                if number > 1:
                    seconds[name].append(time.perf_counter() - began)
    print(f"{workload.name}: {workload.words}, {rounds} rounds each")
    print(f"{'aggregator':<22}{'median ms':>10}{'of the mean':>13}")
    for name, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, seconds["mean"])]
        print(
            f"{name:<22}{1000 * statistics.median(taken):>10.1f}"
            f"{statistics.median(ratios):>13.3f}"
        )


def _build(
    workload: Workload, name: str
) -> tff.learning.templates.LearningProcess:
    options = {}
    if name != "mean":
        options["dp_noise_multiplier"] = 1.0
    if "dp_clip" in PRIVACY_OPTIONS.get(name, {}):
        options["dp_clip"] = 0.5
    config = ExperimentConfig(
        data=DataConfig(partition="natural"),
        clients=ClientConfig(
            clients_per_round=len(workload.sizes),
            batch_size=workload.batch_size,
            optimizer=OptimizerConfig(
                "client", learning_rate=workload.learning_rate
            ),
        ),
        aggregation=AggregationConfig(name),
        privacy=PrivacyConfig(**options),
        run=RunConfig(total_rounds=100),
    )
    planned = None
    if config.private:
        model = learning_process.model(workload)
        size = sum(np.prod(v.shape) for v in model.trainable_variables)
        planned = plan.make(config, _POPULATION, int(size), secret=1)
    aggregation = chain.build(
        AggregationContext(config.aggregation, len(workload.sizes), planned)
    )
    return fed_avg.build(
        lambda: learning_process.model(workload),
        config.clients,
        ServerConfig(),
        aggregation.factory,
        [] if planned is None else mechanisms.client_hooks(planned),
    )


if __name__ == "__main__":
    main()
