"""What clients keep is part of a checkpoint: a process of the test's own."""

import collections
import contextlib
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_pipeline.cohorts.read_ahead import Cohort
from tff_pipeline.config import RunConfig
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.metrics_file import CsvSink
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.runs.state_files import InvalidCheckpointError
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.training.loop import Loop
from tff_pipeline.training.recorder import Recorder

SIZE = 3
HELD = collections.OrderedDict(
    control=np.zeros(SIZE, np.float32), rounds=np.int32(0)
)


class Output(NamedTuple):
    state: object
    client_states: object
    metrics: object


class Process(NamedTuple):
    next: object
    get_model_weights: object


def process():
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

    def next_fn(state, data, held):
        state, kept, mean = step(state, data, held)
        return Output(state, kept, mean)

    return Process(next_fn, lambda state: state)


def cohort_of(number):
    draw = np.random.default_rng(number)
    ids = [f"client {i}" for i in draw.choice(5, 2, replace=False)]
    data = list(draw.normal(size=[2, SIZE]).astype(np.float32))
    return Cohort(ids, data, 2, 0, 0)


def train(folder, rounds):
    """(state, what clients keep) after so many rounds, in `folder`."""
    metrics = str(folder / "metrics.csv")
    columns = ["round", "train_mean", "rejected_update"]
    loop = Loop(
        process(),
        cohort_of,
        lambda weights: {},
        lambda mean: {"train_mean": float(mean[0])},
        RunConfig(total_rounds=rounds, rounds_per_checkpoint=4),
        columns,
        Recorder(
            Sinks(metrics, [CsvSink(metrics, columns)]),
            RoundLog(str(folder / "rounds.jsonl"), {}),
            CheckpointStore(str(folder / "checkpoints")),
        ),
        lambda _: contextlib.nullcontext(),
        kept=KeptStates(str(folder / "checkpoints"), HELD),
    )
    with InProcessContext(2):
        outcome = loop.run(np.zeros(SIZE, np.float32))
    return outcome.state, outcome.kept


def bits(kept):
    """All that clients keep, by client."""
    rows = kept.rows(kept.client_ids)
    return {
        client_id: {name: value.tobytes() for name, value in row.items()}
        for client_id, row in zip(kept.client_ids, rows)
    }


def test_clients_keep_what_they_kept_when_a_run_goes_on(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    state, whole = train(tmp_path / "whole", 12)
    train(tmp_path / "parts", 7)
    again, kept = train(tmp_path / "parts", 12)
    assert again.tobytes() == state.tobytes()
    assert bits(kept) == bits(whole)
    took_part = collections.Counter(
        name for number in range(1, 13) for name in cohort_of(number).client_ids
    )
    names = sorted(took_part)
    rounds = [int(each["rounds"]) for each in kept.rows(names)]
    assert rounds == [took_part[name] for name in names]
    one, other = (
        (tmp_path / name / "metrics.csv").read_bytes()
        for name in ("whole", "parts")
    )
    assert one == other


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_the_index(checkpoints, kept):
    flip(checkpoints / "round_000008" / "kept.npz")


def flip_a_row(checkpoints, kept):
    """Changes a row of round 8, which no earlier checkpoint refers to."""
    client_id = cohort_of(8).client_ids[0]
    name = f"{kept.index.rows[client_id]}.row"
    flip(checkpoints / "kept_rows" / name)


@pytest.mark.parametrize("spoil", [flip_the_index, flip_a_row])
def test_without_what_clients_kept_the_checkpoint_before_is_taken(
    tmp_path, spoil
):
    state, kept = train(tmp_path, 8)
    checkpoints, before = tmp_path / "checkpoints", bits(kept)
    spoil(checkpoints, kept)
    del kept
    store = CheckpointStore(str(checkpoints))
    saved = store.load_latest(state, KeptStates(str(checkpoints), HELD))
    assert saved.round_number == 4
    again, kept = train(tmp_path, 8)
    assert again.tobytes() == state.tobytes()
    assert bits(kept) == before
    assert store.check(8).kept_state == kept.digest()


def test_the_log_has_a_digest_of_what_clients_keep(tmp_path):
    _, kept = train(tmp_path, 5)
    rounds = [
        record.content
        for record in round_log.read(str(tmp_path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    assert rounds[-1]["kept_state"] == kept.digest()
    assert len({content["kept_state"] for content in rounds}) == 5
    assert list(rounds[0])[2:4] == ["state", "kept_state"]


def test_rows_of_another_algorithm_are_refused(tmp_path):
    state, _ = train(tmp_path, 4)
    folder = str(tmp_path / "checkpoints")
    other = KeptStates(folder, {"control": np.zeros(SIZE + 1, np.float32)})
    with pytest.raises(InvalidCheckpointError, match="another algorithm"):
        CheckpointStore(folder).load_latest(state, other)


def test_a_process_that_changes_the_shape_of_rows_is_an_error(tmp_path):
    kept = KeptStates(str(tmp_path), HELD)
    wrong = {"control": np.zeros(SIZE + 1, np.float32), "rounds": np.int32(0)}
    with pytest.raises(ValueError, match="client 1"):
        kept.updated(["client 1"], [collections.OrderedDict(wrong)])
