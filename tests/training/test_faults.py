"""Disks that fill up, sectors that fail, clocks that jump, clients that break.

Whatever goes wrong is said in a sentence, and the same command goes on to the
same bits once it is mended.
"""

import random
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import breaking_data
from tests.testing.breaking_data import Breaking
from tests.testing.killed_runs import (
    ROUNDS,
    SECRET,
    begin,
    config_of,
    papers,
)
from tests.testing.scripts import rows_of, run_script, train_with_faults
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore

SEED = 7


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(papers of a run that nothing happened to, its steps, its folder)."""
    path = tmp_path_factory.mktemp("whole") / "run"
    answer = train_with_faults(begin("tree", path))
    assert answer.get("rounds") == ROUNDS, answer
    return papers(path), answer["steps"], path


def assert_explained(answer):
    assert answer["error"] == "RunDirectoryError", answer["traceback"]
    assert "cannot be" in answer["says"]


def resumes_wherever_the_disk_is_full(whole, path, points, seed):
    found, steps, _ = whole
    draw = random.Random(seed)
    for step in sorted(draw.sample(range(1, steps + 1), points)):
        config = begin("tree", path)
        answer = train_with_faults(config, full_from=step)
        # The last steps write nothing.
        if "error" in answer:
            assert_explained(answer)
            assert "No space left on device" in answer["says"], step
            assert "make room there" in answer["says"]
            store = CheckpointStore(str(path / "checkpoints"))
            for number in store.rounds():
                store.check(number)
        answer = train_with_faults(config)
        assert answer.get("rounds") == ROUNDS, (step, answer)
        assert papers(path) == found, f"full from step {step} of {steps}"


def test_a_disk_that_is_full_loses_nothing(whole, tmp_path):
    resumes_wherever_the_disk_is_full(whole, tmp_path / "run", 1, SEED)


@pytest.mark.soak
def test_a_disk_that_is_full_at_any_of_100_steps_loses_nothing(whole, tmp_path):
    resumes_wherever_the_disk_is_full(whole, tmp_path / "run", 100, SEED + 1)


@pytest.mark.soak
@pytest.mark.parametrize("error", ["EIO", "EINTR"])
def test_errors_that_pass_are_waited_out(whole, tmp_path, error):
    """Or said; then the same command goes on."""
    config, path = begin("tree", tmp_path / "run"), tmp_path / "run"
    for attempt in range(20):
        answer = train_with_faults(
            config, error=error, chance=0.004, seed=attempt
        )
        if "error" not in answer:
            break
        assert_explained(answer)
    assert answer.get("rounds") == ROUNDS, answer
    assert papers(path) == whole[0]


def test_an_error_that_stays_is_tried_as_often_as_it_says(tmp_path):
    config = begin("tree", tmp_path / "run")
    answer = train_with_faults(config, error="EIO", chance=1.0)
    assert_explained(answer)
    answer = train_with_faults(config, error="EIO", chance=0.6)
    assert_explained(answer)


@pytest.mark.soak
def test_a_real_disk_that_is_full(whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        config = begin("tree", disk / "run")
        answer = train_with_faults(config)
        assert "No space left on device" in answer["says"], answer
        more = [*mount[:3], "-o", "remount,size=64m", str(disk)]
        subprocess.run([mount[0], *more[3:]], check=True)
        answer = train_with_faults(config)
        assert answer.get("rounds") == ROUNDS, answer
        assert papers(disk / "run") == whole[0]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.soak
def test_clocks_that_jump_change_nothing(whole, tmp_path):
    answer = train_with_faults(begin("tree", tmp_path / "run"), clock=True)
    assert answer.get("rounds") == ROUNDS, answer
    assert papers(tmp_path / "run") == whole[0]


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        pytest.param("state.npz", False, marks=pytest.mark.soak),
        pytest.param("state.npz", True, marks=pytest.mark.soak),
        pytest.param("manifest.json", False, marks=pytest.mark.soak),
        ("manifest.json", True),
    ],
)
def test_a_damaged_checkpoint_costs_an_interval(whole, tmp_path, name, cut):
    path = tmp_path / "run"
    shutil.copytree(whole[2], path)
    config = config_of("tree", path)
    file = path / "checkpoints" / f"round_{ROUNDS:06d}" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content[: len(content) // 2] if cut else content)
    answer = train_with_faults(config)
    assert answer.get("rounds") == ROUNDS, answer
    assert papers(path) == whole[0]


@pytest.mark.parametrize(
    "spoil", [pytest.param("remove", marks=pytest.mark.soak), "damage"]
)
def test_metrics_csv_is_mended_from_the_log(whole, tmp_path, spoil):
    path = tmp_path / "run"
    shutil.copytree(whole[2], path)
    config = config_of("tree", path)
    if spoil == "remove":
        (path / "metrics.csv").unlink()
    else:
        lines = (path / "metrics.csv").read_text().splitlines(True)
        lines[3] = lines[3].replace("0", "7")
        text = "".join([*lines[:5], lines[4], *lines[9:]])
        (path / "metrics.csv").write_text(text)
    assert train_with_faults(config).get("rounds") == ROUNDS
    assert papers(path) == whole[0]


def test_the_secret_is_the_one_that_was_there(whole, tmp_path):
    """Else the tests above would compare runs of different noise."""
    begin("tree", tmp_path / "run")
    assert (tmp_path / "run" / "noise_secret").read_text() == SECRET
    assert config_of("tree", tmp_path).privacy.dp_noise_seed is None


@pytest.fixture
def breaking(monkeypatch, tmp_path):
    """Trains on data that break `times` times with `error`."""
    entry = registry.TaskEntry(breaking_data.TARGET)
    monkeypatch.setitem(registry.TASKS, "breaking", entry)
    # Else what a failed test left would break the next one's data.
    monkeypatch.setattr(Breaking, "times", 0)
    monkeypatch.setattr(Breaking, "error", None)

    def train(times, error, **run):
        Breaking.times, Breaking.error = times, error
        result = experiment.run(
            ExperimentConfig(
                data=DataConfig("breaking"),
                clients=ClientConfig(clients_per_round=4),
                run=RunConfig(
                    output_dir=str(tmp_path / "run"),
                    total_rounds=5,
                    finishers="none",
                    **run,
                ),
            )
        )
        assert Breaking.times == 0, "the data broke less often"
        return result

    return train


def failures_of(path):
    return [
        record.content
        for record in round_log.read(str(path / "rounds.jsonl"))
        if record.content["kind"] == "failure"
    ]


FAULTS = [
    errors.DataError("client 1 is gone"),
    MemoryError(),
    OSError(5, "Input/output error"),
    tf.errors.ResourceExhaustedError(None, None, "OOM"),
]


@pytest.mark.soak
def test_what_passes_is_tried_again_and_changes_no_bit(breaking, tmp_path):
    breaking(0, None)
    (tmp_path / "run").rename(tmp_path / "whole")
    assert not failures_of(tmp_path / "whole")
    for error in FAULTS:
        breaking(2, error)
        assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole"), error
        found = failures_of(tmp_path / "run")
        assert [each["decision"] for each in found] == ["retry", "retry"]
        assert [each["attempt"] for each in found] == [1, 2]
        assert {each["round"] for each in found} == {1}
        shutil.rmtree(tmp_path / "run")


@pytest.mark.soak
def test_what_does_not_pass_stops_the_run_and_the_command_goes_on(
    breaking, tmp_path
):
    with pytest.raises(errors.DataError) as raised:
        breaking(3, FAULTS[0])
    assert "Round 1 failed (tried 3 times): client 1" in str(raised.value)
    assert [each["decision"] for each in failures_of(tmp_path / "run")] == [
        *("retry", "retry", "stop")
    ]
    assert breaking(0, None).round_number == 5


def test_with_stop_nothing_is_tried_again(breaking, tmp_path):
    with pytest.raises(errors.TrainingError, match="Round 1 failed"):
        breaking(1, MemoryError(), on_failed_round="stop")
    assert [e["decision"] for e in failures_of(tmp_path / "run")] == ["stop"]


def test_with_skip_the_model_stays_and_training_goes_on(breaking, tmp_path):
    breaking(1, FAULTS[0], on_failed_round="skip")
    rows = rows_of(tmp_path / "run")
    assert [row["rejected_update"] for row in rows] == ["1", "0", "0", "0", "0"]
    assert rows[0]["clients"] == rows[0]["eval_accuracy"] == ""
    states = [
        record.content["state"]
        for record in round_log.read(str(tmp_path / "run" / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]
    assert len(set(states)) == 5


def test_too_many_lost_in_a_row_stop_the_run(breaking, tmp_path):
    with pytest.raises(errors.TrainingError, match="in 2 rounds in a row"):
        breaking(
            9, FAULTS[0], on_failed_round="skip", max_consecutive_failures=2
        )
    assert len(rows_of(tmp_path / "run")) == 2


def test_a_model_that_is_not_finite_is_never_taken(tmp_path):
    """A finite update that the server's rate makes infinite."""
    flags = (
        *("--task=digits_2nn", "--partition=iid", "--num_clients=4"),
        *("--clients_per_round=4", "--total_rounds=6"),
        *("--server_learning_rate=1e38", "--rounds_per_checkpoint=1"),
        f"--output_dir={tmp_path / 'run'}",
    )
    done = run_script("train.py", *flags)
    assert "Traceback" not in done.stderr
    store = CheckpointStore(str(tmp_path / "run" / "checkpoints"))
    for number in store.rounds():
        for value in store.check(number).state.values():
            assert np.isfinite(value).all()
    assert "1" in [row["rejected_update"] for row in rows_of(tmp_path / "run")]
    assert {each["decision"] for each in failures_of(tmp_path / "run")} == {
        "skip"
    }
    shutil.rmtree(tmp_path / "run")
    done = run_script("train.py", *flags, "--on_failed_round=stop")
    assert done.returncode == 1
    assert "failed" in done.stderr and "not finite" in done.stderr
