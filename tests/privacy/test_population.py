"""A population costs its cohorts' memory, not its own."""

import collections.abc
import resource

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

MILLION = 1_000_000
EXAMPLES = 20
FEATURES = 256


class Names(collections.abc.Sequence):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, position):
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


def thousand(data, seed):
    clients = Generated(1000)
    return Task("thousand", clients, clients.load("client_999999"), model)


def million(data, seed):
    clients = Generated(MILLION)
    return Task("million", clients, clients.load("client_999999"), model)


def peak_after(name, folder):
    """Peak memory of this process, in KiB, after a run on such clients."""
    config = ExperimentConfig(
        data=DataConfig(task=name),
        clients=ClientConfig(clients_per_round=10),
        run=RunConfig(output_dir=str(folder), total_rounds=30),
    )
    result = experiment.run(config)
    assert result.round_number == 30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_million_clients_cost_what_a_thousand_do(tmp_path, monkeypatch):
    for name in ("thousand", "million"):
        monkeypatch.setitem(registry.TASKS, name, f"{__name__}:{name}")
    first = peak_after("thousand", tmp_path / "a")
    second = peak_after("thousand", tmp_path / "b")
    third = peak_after("million", tmp_path / "c")
    # A list of a million names alone is 65 MB.
    assert third - second < 16 * 1024 + max(0, second - first)
