"""A run with nothing left to do is told without TensorFlow."""

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest

from tests.testing.scripts import SCRIPTS, SMALL_RUN
from tff_pipeline import errors
from tff_pipeline.runs import complete
from tff_pipeline.runs.directory import RunDirectory

_IMPORTED = """
import runpy
import sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("tensorflow" in sys.modules)
"""


@pytest.fixture
def run(small_run, tmp_path):
    """A copy of the small run's directory, with the times of its files."""
    return RunDirectory(str(shutil.copytree(small_run, tmp_path / "run")))


def found(run, **changes):
    config = run.read_config()
    changed = dataclasses.replace(config.run, **changes)
    return complete.find(run, dataclasses.replace(config, run=changed))


def test_train_says_that_a_run_is_complete_without_tensorflow(run):
    before = sorted(os.walk(run.path))
    command = [str(SCRIPTS / "train.py"), *SMALL_RUN]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *command, f"--output_dir={run.path}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{run.path} holds this run, complete;")
    assert "Done after 10 rounds. Test set:" in lines
    assert f"{'SavedModel':<15} {run.saved_model}" in lines
    assert lines[-1] == "False"
    assert sorted(os.walk(run.path)) == before


def test_what_it_reached_is_what_it_reached(run):
    done = found(run)
    assert done.round_number == 10
    assert 0 < done.evaluation["accuracy"] <= 1
    assert not done.target_reached
    assert done.epsilon is None


def test_fewer_rounds_than_there_are_is_complete_and_more_is_not(run):
    assert found(run, total_rounds=9) is not None
    assert found(run, total_rounds=11) is None


def test_nothing_there_is_not_complete(run, tmp_path):
    config = run.read_config()
    assert complete.find(RunDirectory(str(tmp_path / "new")), config) is None


def test_another_run_is_refused_with_what_differs(run):
    with pytest.raises(errors.ConfigError, match=r"seed \(was 0, now 8\)"):
        found(run, seed=8)


def _flip(path):
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def _largest(folder):
    return max(
        (
            os.path.join(top, name)
            for top, _, names in os.walk(folder)
            for name in names
        ),
        key=os.path.getsize,
    )


def _cut(path):
    with open(path) as file:
        lines = file.readlines()
    with open(path, "w") as file:
        file.writelines(lines[:-1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: os.remove(run.metrics),
        lambda run: _cut(run.metrics),
        lambda run: os.remove(run.rounds),
        lambda run: _flip(run.rounds),
        lambda run: os.remove(run.learning_curve),
        lambda run: os.utime(run.learning_curve, (0, 0)),
        lambda run: os.remove(run.report),
        lambda run: os.utime(run.report, (0, 0)),
        lambda run: shutil.rmtree(run.saved_model),
        lambda run: _flip(_largest(run.saved_model)),
        lambda run: shutil.rmtree(run.checkpoints),
        lambda run: _flip(_largest(f"{run.checkpoints}/round_000010")),
    ],
)
def test_what_is_missing_or_damaged_is_left_to_a_run(run, damage):
    assert found(run) is not None
    damage(run)
    assert found(run) is None


def test_finishers_that_were_not_asked_for_need_not_be_done(run):
    shutil.rmtree(run.saved_model)
    os.remove(run.learning_curve)
    assert found(run, finishers="none") is not None
    assert found(run, finishers="learning_curve") is None


def test_a_key_demands_a_signature(run):
    assert found(run, signing_key="key.pem") is None
