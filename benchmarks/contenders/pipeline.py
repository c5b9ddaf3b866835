"""This pipeline's default: blocks of data, TFF's computations in process."""

import numpy as np
import tensorflow as tf

from benchmarks.contenders import learning_process
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.block import client_block, epoch_orders
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
        # The first epoch takes the examples in the order that all contenders
        # share: they lie where the drawn order looks for them.
        order = epoch_orders(
            tf.constant(number, tf.int64), tf.constant(1), tf.constant(len(x))
        )
        places = np.argsort(order[0])
        blocks.append(client_block(Examples(x[places], y[places]), number))
    with InProcessContext():
        learning_process.run(process, blocks, workload, rounds)
