"""A small process with state on its clients, and runs of it.

A run directory of it has all papers but an exported model.
"""

import collections
import contextlib
import dataclasses

import numpy as np
import tensorflow_federated as tff

from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.aggregators.mean import WeightedMeanFactory
from tff_pipeline.algorithms.algorithm import Algorithm
from tff_pipeline.cohorts.read_ahead import Cohort
from tff_pipeline.config import ExperimentConfig, RunConfig
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import CsvSink
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.training.loop import Loop
from tff_pipeline.training.outcome import Outcome
from tff_pipeline.training.recorder import Recorder

SIZE = 3
HELD = collections.OrderedDict(
    control=np.zeros(SIZE, np.float32), rounds=np.int32(0)
)


class Remembering(Algorithm):
    """An algorithm of the tests' own, whose clients remember."""

    initial_kept_state = HELD
    aggregation = Aggregation(WeightedMeanFactory())

    def __init__(self):
        self._next = next_fn()

    def run_round(self, state, data, kept):
        state, kept, mean = self._next(state, data, kept)
        return state, mean, kept

    def measure(self, metrics):
        return {"train_mean": float(metrics[0])}


def next_fn():
    """A server that adds what clients send: their data less what they hold.

    A client remembers what it sent, as a control variate, and how often.
    """
    vector = tff.TensorType(np.float32, [SIZE])
    held = tff.to_type(collections.OrderedDict(control=vector, rounds=np.int32))

    @tff.tensorflow.computation(vector, held)
    def send(data, held):
        return data - 0.5 * held["control"]

    @tff.tensorflow.computation(vector, held)
    def remember(sent, held):
        return collections.OrderedDict(control=sent, rounds=held["rounds"] + 1)

    @tff.tensorflow.computation(vector, vector)
    def add(state, mean):
        return state + mean

    @tff.federated_computation(
        tff.FederatedType(vector, tff.SERVER),
        tff.FederatedType(vector, tff.CLIENTS),
        tff.FederatedType(held, tff.CLIENTS),
    )
    def step(state, data, held):
        sent = tff.federated_map(send, (data, held))
        kept = tff.federated_map(remember, (sent, held))
        mean = tff.federated_mean(sent)
        return tff.federated_map(add, (state, mean)), kept, mean

    return step


def cohort_of(number, client_ids=None):
    draw = np.random.default_rng(number)
    ids = [f"client {i}" for i in draw.choice(5, 2, replace=False)]
    data = list(draw.normal(size=[2, SIZE]).astype(np.float32))
    return Cohort(ids, data)


def config_of(path, rounds):
    """An experiment with such a run in the folder `path`."""
    return ExperimentConfig(
        run=RunConfig(
            output_dir=str(path), total_rounds=rounds, rounds_per_checkpoint=4
        )
    )


def run(config: ExperimentConfig, until: int) -> Outcome:
    """Trains in the run directory of `config`, from its newest checkpoint."""
    directory = RunDirectory(config.run.output_dir)
    environment = {"python": "3"}
    directory.claim(config, environment=environment)
    columns = ["round", "train_mean", "rejected_update"]
    identity = config.flags(identity_only=True)
    loop = Loop(
        Remembering(),
        cohort_of,
        lambda state, kept: {},
        dataclasses.replace(config.run, total_rounds=until),
        columns,
        Recorder(
            Sinks(directory.metrics, [CsvSink(directory.metrics, columns)]),
            RoundLog(
                directory.rounds,
                {"config": identity, "environment": environment},
            ),
            CheckpointStore(directory.checkpoints, config=identity),
        ),
        lambda _: contextlib.nullcontext(),
        kept=KeptStates(directory.checkpoints, HELD),
    )
    with InProcessContext(2):
        return loop.run(np.zeros(SIZE, np.float32))
