"""The road end to end: real processes, real data, the same bits."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.testing.scripts import SMALL_RUN, rows_of, run_script, start_script

# Loads a SavedModel where only TensorFlow is, and counts its hits.
_PREDICT = """
import sys
import numpy as np
import tensorflow as tf
path, data = sys.argv[1:]
with np.load(data) as arrays:
    x, y = arrays["x"], arrays["y"]
model = tf.saved_model.load(path)
out = model.signatures["serving_default"](image=tf.constant(x))
assert sorted(out) == ["class_id", "logits", "probabilities"], sorted(out)
class_id = out["class_id"].numpy()
assert (class_id == out["logits"].numpy().argmax(axis=-1)).all()
np.testing.assert_allclose(out["probabilities"].numpy().sum(-1), 1, rtol=1e-5)
keras = tf.keras.models.load_model(path, compile=False)
np.testing.assert_array_equal(
    keras(x).numpy().argmax(axis=-1), class_id)
assert not [m for m in sys.modules if m.startswith("tensorflow_federated")]
print(np.mean(class_id == y, dtype=np.float32))
"""


def weights_of(run_dir, round_number):
    path = run_dir / "checkpoints" / f"round_{round_number:06d}" / "state.npz"
    with np.load(path, allow_pickle=False) as state:
        return {name: state[name].tobytes() for name in state.files}


@pytest.fixture(scope="module")
def other_run(tmp_path_factory):
    """SMALL_RUN again, in two sittings: five rounds, then the rest."""
    path = tmp_path_factory.mktemp("resumed") / "run"
    for rounds in (5, 10):
        done = run_script(
            "train.py",
            *SMALL_RUN,
            f"--total_rounds={rounds}",
            f"--output_dir={path}",
        )
        assert done.returncode == 0, done.stderr
    return path


def test_run_directory_holds_what_the_readme_lists(small_run):
    names = {entry.name for entry in small_run.iterdir()}
    assert names == {
        "checkpoints",
        "config.json",
        "environment.json",
        "flags.txt",
        "metrics.csv",
        "plots",
        "report.html",
        "rounds.jsonl",
        "saved_model",
        "tensorboard",
        "travels.txt",
    }
    assert (small_run / "plots" / "learning_curve.png").stat().st_size > 10000
    assert (
        "tensorflow"
        in json.loads((small_run / "environment.json").read_text())["packages"]
    )


def test_metrics_have_a_row_a_round(small_run):
    rows = rows_of(small_run)
    assert [int(row["round"]) for row in rows] == list(range(1, 11))
    for row in rows:
        evaluated = int(row["round"]) % 2 == 0
        assert bool(row["eval_accuracy"]) == evaluated
        assert row["clients"] == "4"
        # 64*200 + 200*200 + 200*10 weights and 410 biases of four bytes.
        assert row["bytes_down"] == str(55210 * 4)
        # And what the client counts for.
        assert row["bytes_up"] == str(55210 * 4 + 4)


def test_two_sittings_end_with_the_same_bits_as_one(small_run, other_run):
    assert weights_of(small_run, 5) == weights_of(other_run, 5)
    assert weights_of(small_run, 10) == weights_of(other_run, 10)
    shared = [r for r in rows_of(other_run) if r["round"] != "5"]
    assert shared == [r for r in rows_of(small_run) if r["round"] != "5"]


def test_saved_model_predicts_what_the_run_evaluated(small_run, tmp_path):
    from tff_pipeline.datasets import digits

    _, test = digits.load()
    np.savez(tmp_path / "test.npz", x=test.x, y=test.y)
    done = subprocess.run(
        [
            *(sys.executable, "-c", _PREDICT),
            *(str(small_run / "saved_model"), str(tmp_path / "test.npz")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    evaluated = np.float32(rows_of(small_run)[-1]["eval_accuracy"])
    assert np.float32(done.stdout.splitlines()[-1]) == evaluated


def test_flags_txt_runs_the_same_again(small_run, tmp_path):
    done = run_script(
        "train.py",
        f"--flagfile={small_run / 'flags.txt'}",
        "--total_rounds=5",
        f"--output_dir={tmp_path}",
    )
    assert done.returncode == 0, done.stderr
    assert weights_of(small_run, 5) == weights_of(tmp_path, 5)


def test_finished_run_is_left_as_it_is(small_run):
    before = (small_run / "metrics.csv").read_bytes()
    done = run_script("train.py", *SMALL_RUN, f"--output_dir={small_run}")
    assert done.returncode == 0, done.stderr
    assert "Done after 10 rounds" in done.stdout
    assert (small_run / "metrics.csv").read_bytes() == before


def test_another_config_is_refused_naming_the_flags(small_run):
    before = (small_run / "config.json").read_bytes()
    done = run_script(
        "train.py", *SMALL_RUN, "--seed=7", f"--output_dir={small_run}"
    )
    assert done.returncode == 2
    assert "--seed (was 0, now 7)" in done.stderr
    assert "--overwrite" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (small_run / "config.json").read_bytes() == before


@pytest.mark.soak
def test_overwrite_starts_again_and_leaves_other_files(tmp_path):
    arguments = (*SMALL_RUN, "--total_rounds=2", f"--output_dir={tmp_path}")
    (tmp_path / "notes.txt").write_text("mine")
    assert run_script("train.py", *arguments).returncode == 0
    done = run_script("train.py", *arguments, "--seed=7", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((tmp_path / "config.json").read_text())["run"]["seed"] == 7
    )
    assert len(rows_of(tmp_path)) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.soak
def test_target_stops_early_and_stays_reached(tmp_path):
    arguments = (
        *SMALL_RUN,
        "--total_rounds=50",
        "--target_metric=eval_accuracy",
        "--target_value=0.5",
        f"--output_dir={tmp_path}",
    )
    done = run_script("train.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "target reached" in done.stdout
    rows = rows_of(tmp_path)
    assert len(rows) < 50
    evaluated = [float(r["eval_accuracy"]) for r in rows if r["eval_accuracy"]]
    assert evaluated[-1] >= 0.5 > max(evaluated[:-1], default=0)
    again = run_script("train.py", *arguments)
    assert f"Done after {len(rows)} rounds (target reached)" in again.stdout
    assert rows_of(tmp_path) == rows


def test_rate_that_blows_up_stops_with_a_sentence(tmp_path):
    done = run_script(
        "train.py",
        *SMALL_RUN,
        "--client_learning_rate=1e30",
        f"--output_dir={tmp_path}",
    )
    assert done.returncode == 1
    assert "--client_learning_rate" in done.stderr
    assert (
        "in 3 rounds in a row (--max_consecutive_failures), the last being 3"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    rows = rows_of(tmp_path)
    assert [row["rejected_clients"] for row in rows] == ["4", "4", "4"]
    assert [row["train_loss"] for row in rows] == ["", "", ""]


def test_output_below_a_file_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    done = run_script(
        "train.py", *SMALL_RUN, f"--output_dir={tmp_path / 'file' / 'run'}"
    )
    assert done.returncode == 1
    assert str(tmp_path / "file" / "run") in done.stderr
    assert "round 1" not in done.stdout
    assert done.stderr.count("\n") == 1


@pytest.mark.soak
def test_what_libraries_say_is_shown_if_asked_for(small_run):
    # That they are silent else is looked at where `small_run` is made.
    # This process has TensorFlow silenced for itself and its children.
    said = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    loud = start_script(
        "evaluate.py", "--verbosity=0", f"--run_dir={small_run}", env=said
    )
    assert loud.returncode == 0
    assert "tensorflow" in loud.stderr
