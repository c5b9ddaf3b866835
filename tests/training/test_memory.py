"""Memory, threads and open files stay as they are, round after round.

Each in a process of its own; figures are printed (pytest -s shows them).
"""

import json
import subprocess
import sys
import time

import pytest

from tests.testing.resources import used
from tests.testing.scripts import ROOT, SCRIPTS, SMALL_RUN

# Guards against a hang.
PATIENCE = 600

# Trains on cohorts of 3 to 30 clients of 1 to 40 examples. An update is of 90
# kB, so that one that is kept of every client is seen in a few rounds.
TRAIN = """
import json, os, sys
from tff_pipeline import silence
silence.silence()
import numpy as np
import tensorflow as tf
from tests.testing.resources import used
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.block import client_block, client_key
from tff_pipeline.config import ClientConfig, OptimizerConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

layers = tf.keras.layers

def model_fn():
    return tf.keras.Sequential([
        tf.keras.Input([20]),
        layers.Dense(500, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(25),
    ])

draw = np.random.default_rng(0)
x = draw.normal(size=[40, 20]).astype(np.float32)
examples = Examples(x, draw.integers(25, size=40).astype(np.int32))
data = InMemoryData(examples, {"all": np.arange(40)})
task = Task("small", data, examples, model_fn)
clients = ClientConfig(
    batch_size=8, optimizer=OptimizerConfig("client", "momentum", 0.01))
server = ServerConfig(OptimizerConfig("server", "adam", 0.01))
process = fed_avg.build(task.tff_model_fn, clients, server)
with InProcessContext(2):
    state = process.initialize()
    for number in range(1, int(sys.argv[1]) + 1):
        cohort = [
            client_block(
                examples.take(np.arange(draw.integers(1, 41))),
                client_key(0, number, client))
            for client in range(draw.integers(3, 31))
        ]
        state = process.next(state, cohort).state
        print(json.dumps([number, *used(os.getpid())]), flush=True)
"""


def train(rounds):
    """What the child used after each round, by number."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(rounds)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {number: tuple(figures) for number, *figures in rows}


def assert_flat(figures, first, last, growth):
    """Of what was used after some rounds, or within the run's seconds."""
    (before, threads, files), (after, *now) = figures[first], figures[last]
    print(
        f"\n{before:.1f} MB at {first}, {after:.1f} MB at {last} "
        f"({after / before - 1:+.2%}); {threads} threads, {files} files, "
        f"then {now[0]} and {now[1]}"
    )
    assert after < (1 + growth) * before
    assert now == [threads, files]


@pytest.mark.soak
def test_sixty_rounds_of_cohorts_of_any_size_use_no_more_memory():
    # A state that is kept in every round is 2.6 % here.
    assert_flat(train(90), 30, 90, growth=0.02)


@pytest.mark.soak
def test_a_thousand_rounds_use_no_more_memory():
    assert_flat(train(1000), 50, 1000, growth=0.03)


@pytest.mark.soak
def test_a_run_of_two_thousand_rounds_uses_no_more_memory(tmp_path):
    """All of it: reading ahead, evaluation, metrics, log and checkpoints."""
    rounds, figures = 2100, {}
    metrics = tmp_path / "metrics.csv"
    command = [
        *(sys.executable, str(SCRIPTS / "train.py"), *SMALL_RUN),
        *(f"--total_rounds={rounds}", f"--output_dir={tmp_path}"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + PATIENCE
        for number in (50, 2000):
            # The header, and a line a round.
            while not metrics.exists() or _lines(metrics) <= number:
                assert process.poll() is None
                if time.monotonic() > deadline:
                    process.kill()
                time.sleep(0.05)
            samples = []
            for _ in range(20):
                samples.append(used(process.pid))
                time.sleep(0.02)
            # Files are opened for a checkpoint, and closed.
            figures[number] = tuple(map(min, zip(*samples)))
        assert process.wait(PATIENCE) == 0
    assert_flat(figures, 50, 2000, growth=0.03)


def _lines(path):
    return path.read_bytes().count(b"\n")
