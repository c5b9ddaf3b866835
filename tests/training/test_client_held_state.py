"""What clients keep is part of a checkpoint: a process of the test's own."""

import collections

import numpy as np
import pytest

from tests.testing.kept_process import HELD, SIZE, cohort_of, config_of, run
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.state_files import InvalidCheckpointError


def train(folder, rounds):
    """(state, what clients keep) after so many rounds, in `folder`."""
    outcome = run(config_of(folder, rounds), until=rounds)
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
