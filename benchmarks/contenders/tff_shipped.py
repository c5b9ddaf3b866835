"""TFF as shipped: its federated averaging, its worker, its defaults."""

import tensorflow as tf
import tensorflow_federated as tff

from benchmarks.contenders import learning_process
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    sgd = tff.learning.optimizers.build_sgdm
    process = tff.learning.algorithms.build_weighted_fed_avg(
        lambda: learning_process.model(workload),
        client_optimizer_fn=sgd(workload.learning_rate),
        server_optimizer_fn=sgd(1.0),
    )
    datasets = [
        tf.data.Dataset.from_tensor_slices((x, y)).batch(workload.batch_size)
        for x, y in client_data(workload)
    ]
    learning_process.run(process, datasets, workload, rounds)
