"""scripts/evaluate.py and scripts/export.py on a run that train.py wrote."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import rows_of, run_script


def test_evaluate_reports_central_and_per_client(small_run):
    done = run_script("evaluate.py", f"--run_dir={small_run}", "--round=10")
    assert done.returncode == 0, done.stderr
    path = small_run / "evaluations" / "round_000010.json"
    report = json.loads(path.read_text())
    last = rows_of(small_run)[-1]
    assert report["central"]["accuracy"] == float(last["eval_accuracy"])
    (group,) = report["clients"]
    assert group["count"] == 12
    spread = group["metrics"]["accuracy"]
    assert (
        spread["worst_10_percent"]
        <= spread["median"]
        <= spread["best_10_percent"]
    )
    for word in ("weighted_mean", "worst_10_percent", "best_10_percent"):
        assert word in done.stdout
    path.unlink()
    path.parent.rmdir()


@pytest.mark.parametrize("script", ["evaluate.py", "export.py"])
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "--run_dir is not set"),
        (["--run_dir=/nowhere"], 1, "/nowhere/config.json does not exist"),
        (["--run_dir={run}", "--round=3"], 2, "saved rounds"),
    ],
)
def test_scripts_on_runs_name_the_mistake(
    script, arguments, status, words, small_run, tmp_path
):
    arguments = [argument.format(run=small_run) for argument in arguments]
    if script == "export.py":
        arguments.append(f"--output={tmp_path / 'model'}")
    done = run_script(script, *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_export_of_a_round_is_atomic_and_refuses_to_replace(
    small_run, tmp_path
):
    arguments = (f"--run_dir={small_run}", f"--output={tmp_path / 'model'}")
    first = run_script("export.py", *arguments, "--round=5")
    assert first.returncode == 0, first.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    again = run_script("export.py", *arguments)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    replaced = run_script("export.py", *arguments, "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


@pytest.fixture(scope="module")
def own_model_run(tmp_path_factory):
    """A run of a model of the user's own, evaluated client by client."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(
        "import tensorflow as tf\n"
        "def tiny():\n"
        "    return tf.keras.Sequential([\n"
        "        tf.keras.Input((8, 8, 1), dtype='uint8'),\n"
        "        tf.keras.layers.Rescaling(1 / 16),\n"
        "        tf.keras.layers.Flatten(),\n"
        "        tf.keras.layers.Dense(10)])\n"
        "def words():\n"
        "    return 'no model'\n"
        "def broken():\n"
        "    raise ValueError('no such layer')\n"
    )
    arguments = [
        *("--task=digits_2nn", "--num_clients=12", "--clients_per_round=12"),
        *("--total_rounds=4", "--rounds_per_eval=2", "--eval_clients=seen"),
        *("--client_steps_per_round=9", "--augment=shift", "--output_dir=run"),
    ]
    done = run_script(
        "train.py", *arguments, "--model_fn=mine:tiny", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_model_of_the_users_own_is_trained_and_exported(own_model_run):
    saved = tf.saved_model.load(str(own_model_run / "run" / "saved_model"))
    image = np.zeros([3, 8, 8, 1], np.uint8)
    outputs = saved.signatures["serving_default"](image=tf.constant(image))
    assert outputs["logits"].shape == [3, 10]


def test_metrics_have_columns_of_how_clients_fare(own_model_run):
    rows = rows_of(own_model_run / "run")
    assert [bool(row["seen_accuracy_p10"]) for row in rows] == [
        number % 2 == 0 for number in range(1, 5)
    ]
    last = {name: float(value) for name, value in rows[-1].items() if value}
    assert (
        0
        <= last["seen_accuracy_p10"]
        <= last["seen_accuracy_median"]
        <= last["seen_accuracy_p90"]
        <= 1
    )
    assert 0 <= last["seen_accuracy_gap"] <= 1
    assert last["seen_loss_p10"] <= last["seen_loss_p90"]


def test_evaluate_names_the_worst_clients(own_model_run):
    done = run_script("evaluate.py", "--run_dir=run", cwd=own_model_run)
    assert done.returncode == 0, done.stderr
    path = own_model_run / "run" / "evaluations" / "round_000004.json"
    (group,) = json.loads(path.read_text())["clients"]
    for name, better in (("loss", -1), ("accuracy", 1)):
        values = [client["value"] * better for client in group["worst"][name]]
        assert values == sorted(values)
        assert len(values) == 5
    worst = group["worst"]["accuracy"][0]
    assert worst["value"] == pytest.approx(
        group["metrics"]["accuracy"]["worst_10_percent"]
    )
    assert f"worst by accuracy: {worst['client']}" in done.stdout


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (
            "--model_fn=nowhere:tiny",
            "the module nowhere, which Python does not find",
        ),
        ("--model_fn=mine:absent", "has no function absent; it has"),
        ("--model_fn=mine:broken", "ValueError: no such layer"),
        ("--model_fn=mine:words", "returned str"),
        ("--model_fn=mine", "must be package.module:function"),
        ("--eval_clients=unseen", "--unseen_clients"),
        ("--augment=time_mask", "time_mask does not suit"),
        ("--unseen_clients=3", "--unseen_clients=3 is not used with"),
    ],
)
def test_train_names_the_mistake(own_model_run, argument, words):
    done = run_script(
        "train.py", argument, "--output_dir=other", cwd=own_model_run
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (own_model_run / "other").exists()
