"""Events go to the log in order, and to those who asked to hear of them."""

import numpy as np
import pytest

from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.metrics_file import CsvSink
from tff_pipeline.runs.round_log import RoundLog
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.training.recorder import Recorder, Round

STATE = {"a": np.zeros(3, np.float32)}


@pytest.fixture
def recorder_of(tmp_path):
    """Makes a recorder with these subscribers."""

    def made(*subscribers):
        metrics = str(tmp_path / "metrics.csv")
        return Recorder(
            Sinks(metrics, [CsvSink(metrics, ["round"])]),
            RoundLog(str(tmp_path / "rounds.jsonl"), {}),
            CheckpointStore(str(tmp_path / "checkpoints")),
            subscribers=subscribers,
        )

    return made


def test_an_event_is_in_the_log_after_the_round_before_it(
    recorder_of, tmp_path
):
    with recorder_of() as recorder:
        recorder.start(STATE)
        recorder.record(Round(1, STATE, None, ["a"], {"round": 1}), True)
        recorder.event("drop_out", 2, clients=3)
        recorder.record(Round(2, STATE, None, ["a"], {"round": 2}), True)
    records = round_log.read(str(tmp_path / "rounds.jsonl"))
    assert [record.content["kind"] for record in records] == [
        *("begun", "round", "drop_out", "round"),
    ]
    assert records[2].content == {"kind": "drop_out", "round": 2, "clients": 3}


def test_a_failure_has_the_bytes_that_it_always_had(recorder_of, tmp_path):
    with recorder_of() as recorder:
        recorder.start(STATE)
        recorder.event("failure", 1, attempt=2, why="OSError", decision="skip")
    line = (tmp_path / "rounds.jsonl").read_text().splitlines()[-1]
    assert line.startswith(
        '{"kind": "failure", "round": 1, "attempt": 2, "why": "OSError", '
        '"decision": "skip", "previous": "'
    )


def test_subscribers_hear_of_events_in_order(recorder_of, tmp_path):
    heard = []

    def first(event):
        records = round_log.read(str(tmp_path / "rounds.jsonl"))
        heard.append(("first", event["why"], len(records)))

    def second(event):
        heard.append(("second", event["why"], event["round"]))

    with recorder_of(first, second) as recorder:
        recorder.start(STATE)
        recorder.event("refusal", 7, why="one")
        recorder.event("refusal", 8, why="two")
    # The record is written by then.
    assert heard == [
        ("first", "one", 2),
        ("second", "one", 7),
        ("first", "two", 3),
        ("second", "two", 8),
    ]


def test_the_record_of_a_round_without_kept_states_has_its_old_fields(
    recorder_of, tmp_path
):
    with recorder_of() as recorder:
        recorder.start(STATE)
        recorder.record(Round(1, STATE, None, ["a"], {"round": 1}), False)
    record = round_log.read(str(tmp_path / "rounds.jsonl"))[-1]
    assert list(record.content) == [
        *("kind", "round", "state", "cohort", "metrics"),
    ]


def test_what_was_before_the_first_round_is_kept_by_a_resume(
    recorder_of, tmp_path
):
    with recorder_of() as recorder:
        recorder.start(STATE)
        recorder.before({"round": 0})
        recorder.record(Round(1, STATE, None, ["a"], {"round": 1}), True)
        # Lost: no checkpoint was saved after it.
        recorder.record(Round(2, STATE, None, ["a"], {"round": 2}), False)
    with recorder_of() as recorder:
        again = recorder.start(STATE)
    assert [row["round"] for row in again.rows] == [0, 1]
    assert (tmp_path / "metrics.csv").read_text() == "round\n0\n1\n"


def test_a_run_killed_before_its_first_checkpoint_has_it_once(
    recorder_of, tmp_path
):
    for _ in range(2):
        with recorder_of() as recorder:
            recorder.start(STATE)
            recorder.before({"round": 0})
    assert (tmp_path / "metrics.csv").read_text() == "round\n0\n"
    records = round_log.read(str(tmp_path / "rounds.jsonl"))
    assert [record.content["kind"] for record in records] == ["begun", "before"]
