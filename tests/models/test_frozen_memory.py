"""A frozen base is in memory once, whoever trains, and never in a message.

Others copied it for each client (FederatedScope, issue 607), kept something
for each client at the server, or sent messages that end at 2 GiB (Flower,
issues 3006 and 3236). Each run is a process of its own; figures are printed
(pytest -s shows them).
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.testing.scripts import ROOT
from tff_pipeline.models import frozen

SIZE = 64
TRAIN = """
import json, sys
from tff_pipeline import silence
silence.silence()
import numpy as np
import tensorflow as tf
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.block import client_block, client_key
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.models import frozen
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

base = frozen.load(sys.argv[1])
words, size = base.arrays["words/embeddings"].shape

def own_memory():
    # In megabytes, without what is mapped from files.
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024

def model_fn():
    with frozen.using(base):
        return tf.keras.Sequential([
            tf.keras.Input([4], dtype=tf.int32),
            tf.keras.layers.Embedding(words, size, name="words"),
            tf.keras.layers.GlobalAveragePooling1D(),
            tf.keras.layers.Dense(2),
        ])

draw = np.random.default_rng(0)
x = draw.integers(words, size=[32, 4]).astype(np.int32)
examples = Examples(x, draw.integers(2, size=32).astype(np.int32))
task = Task(
    "words", InMemoryData(examples, {"all": np.arange(32)}), examples, model_fn)
clients = ClientConfig(
    batch_size=8, optimizer=OptimizerConfig("client", "sgd", 0.1))
server = ServerConfig(OptimizerConfig("server", "sgd", 1.0))
own_memory()
tf.constant(0.0) + 1.0
before = own_memory()
process = fed_avg.build(task.tff_model_fn, clients, server)
with InProcessContext(2):
    state = process.initialize()
    for count in map(int, sys.argv[2:]):
        cohort = [
            client_block(examples, client_key(0, 1, client))
            for client in range(count)
        ]
        state = process.next(state, cohort).state
        weights = state.global_model_weights
        print(json.dumps({
            "clients": count,
            "more": own_memory() - before,
            "sent": sum(np.asarray(w).nbytes for w in weights.trainable),
            "not_trained": len(list(weights.non_trainable)),
        }), flush=True)
"""


def trained(folder, *cohorts):
    """Trains in a process; returns what it told after each cohort's round."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(folder), *map(str, cohorts)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    print(*told, sep="\n")
    return told


def stored(folder, words):
    """A base of so many words; all but the first are zeros."""
    values = np.zeros([words, SIZE], np.float32)
    values[0] = 1
    frozen.store(str(folder), {"words/embeddings": values})
    return values.nbytes


def test_the_base_is_no_clients_and_the_server_keeps_nothing_of_a_client(
    tmp_path,
):
    megabytes = stored(tmp_path / "base", 500_000) / 2**20
    few, many = trained(tmp_path / "base", 4, 40)
    assert few["sent"] == many["sent"] == 4 * (2 * SIZE + 2)
    assert few["not_trained"] == 0
    # Of 122 MB not one copy is made; and a tenth of it for 36 more clients
    # would be seen.
    assert many["more"] < 0.75 * megabytes
    assert many["more"] - few["more"] < 0.1 * megabytes


@pytest.mark.soak
def test_a_base_may_be_larger_than_any_message(tmp_path):
    assert stored(tmp_path / "base", 9_000_000) > 2**31
    (told,) = trained(tmp_path / "base", 2)
    assert told["more"] < 1000
