"""Trains on a population of clients that are drawn when they are asked for.

    python -m tests.testing.population CLIENTS FOLDER

Prints, as JSON, the rounds and the most memory, in MB, that the process held.
"""

import collections.abc
import json
import resource
import sys

import numpy as np
import tensorflow as tf

from tff_pipeline import experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.tasks.task import Task

EXAMPLES = 20
FEATURES = 256


class Names(collections.abc.Sequence):
    """The clients' names, none of which is kept."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        if position >= self.count:
            raise IndexError(position)
        return f"client_{position:06d}"


class Generated(FederatedData):
    """A million of these clients would be 20 GB, were they in memory."""

    def __init__(self, count):
        self.client_ids = Names(count)

    def size(self, client_id):
        return EXAMPLES

    def load(self, client_id):
        draw = np.random.default_rng(int(client_id[-6:]))
        x = draw.normal(size=[EXAMPLES, FEATURES]).astype(np.float32)
        return Examples(x, (x[:, 0] > 0).astype(np.int32))


def model():
    return tf.keras.Sequential(
        [tf.keras.Input([FEATURES]), tf.keras.layers.Dense(2)]
    )


def task(options, seed):
    clients = Generated(int(sys.argv[1]))
    return Task("generated", clients, clients.load("client_999999"), model)


def main():
    registry.TASKS["generated"] = "tests.testing.population:task"
    config = ExperimentConfig(
        data=DataConfig(task="generated"),
        clients=ClientConfig(clients_per_round=10),
        run=RunConfig(output_dir=sys.argv[2], total_rounds=5, finishers="none"),
    )
    result = experiment.run(config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rounds": result.round_number, "peak": peak}))


if __name__ == "__main__":
    main()
