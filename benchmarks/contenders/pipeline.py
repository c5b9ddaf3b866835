"""This pipeline's default: blocks of data, TFF's computations in process."""

import numpy as np

from benchmarks.contenders import learning_process
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.runtime.in_process import InProcessContext


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    clients = ClientConfig(
        clients_per_round=len(workload.sizes),
        batch_size=workload.batch_size,
        optimizer=OptimizerConfig(
            "client", learning_rate=workload.learning_rate
        ),
    )
    process = fed_avg.build(
        lambda: learning_process.model(workload), clients, ServerConfig()
    )
    blocks = []
    for number, (x, y) in enumerate(client_data(workload)):
        (block,) = process.block(Examples(x, y), 1, 0, number)
        # The order that all contenders share, and not a drawn one.
        blocks.append([{**block, "order": np.sort(block["order"])}])
    with InProcessContext():
        learning_process.run(process, blocks, workload, rounds)
