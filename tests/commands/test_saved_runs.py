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


@pytest.mark.soak
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
    # So few clients are all in the table.
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    examples = worst["examples"]
    assert any(
        line.startswith(f"{worst['client']} {examples} ") for line in lines
    )


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


@pytest.fixture(scope="module")
def clinic_run(tmp_path_factory):
    """A run on a table of three clinics, of which one has no ill patient."""
    folder = tmp_path_factory.mktemp("clinics")
    draw = np.random.default_rng(0)
    rows = ["clinic,marker,age,outcome"]
    for place in range(300):
        clinic = ("north", "south", "west")[place % 3]
        ill = clinic != "west" and draw.uniform() < 0.3
        marker = draw.normal(2.0 * ill)
        rows.append(
            f"{clinic},{marker:.3f},{draw.integers(20, 80)},"
            f"{'ill' if ill else 'healthy'}"
        )
    (folder / "clinics.csv").write_text("\n".join(rows) + "\n")
    arguments = [
        *("--task=csv", "--data_dir=clinics.csv", "--client_column=clinic"),
        *("--label_column=outcome", "--clients_per_round=3"),
        *("--total_rounds=6", "--rounds_per_eval=3", "--eval_clients=seen"),
        *("--class_weights=balanced", "--output_dir=run"),
    ]
    done = run_script("train.py", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, arguments, done


def test_a_run_ends_with_how_it_stands_beside_the_majority(clinic_run):
    folder, arguments, done = clinic_run
    test = rows_of(folder / "run")[-1]
    (line,) = [
        line
        for line in done.stdout.splitlines()
        if "the most frequent class alone" in line
    ]
    accuracy, area = (float(test[f"eval_{n}"]) for n in ("accuracy", "auc"))
    environment = json.loads((folder / "run/environment.json").read_text())
    majority = environment["constant_answer"]["accuracy"]
    assert 0.5 < majority < 1
    assert line == (
        f"Accuracy {accuracy:.3f}; the most frequent class alone "
        f"{majority:.3f}; AUC {area:.3f}."
    )
    assert "Weights of classes in the training loss: healthy 0." in done.stdout
    card = (folder / "run/saved_model/assets.extra/model_card.md").read_text()
    assert f"(a constant answer: {majority:.4g})" in card
    # And once more, without TensorFlow.
    again = run_script("train.py", *arguments, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "complete" in again.stdout
    assert line in again.stdout.splitlines()


def test_metrics_of_two_classes_have_their_columns(clinic_run):
    folder, _, _ = clinic_run
    rows = rows_of(folder / "run")
    assert rows[0]["eval_auc"] == rows[0]["seen_auc_mean"] == ""
    last = {name: float(value) for name, value in rows[-1].items() if value}
    assert 0.5 < last["eval_auc"] <= 1
    assert 0.5 < last["eval_balanced_accuracy"] <= 1
    # West has one class and so no area: the least is of the two others.
    assert 0.5 < last["seen_auc_p10"] <= last["seen_auc_p90"] <= 1


def test_evaluate_tables_classes_by_name_and_each_client(clinic_run):
    folder, _, _ = clinic_run
    done = run_script(
        "evaluate.py", "--run_dir=run", "--threshold=0.3", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    path = folder / "run" / "evaluations" / "round_000006.json"
    report = json.loads(path.read_text())
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    classes = report["classes"]
    assert classes["names"] == ["healthy", "ill"]
    for name, row in zip(classes["names"], classes["confusion"]):
        assert f"{name} {row[0]} {row[1]}" in lines
    sensitivity = classes["confusion"][1][1] / classes["count"][1]
    assert report["central"]["sensitivity"] == pytest.approx(sensitivity)
    assert any(line.startswith("sensitivity (ill) ") for line in lines)
    assert "ill is predicted above a probability of 0.3" in done.stdout
    last = rows_of(folder / "run")[-1]
    assert report["central"]["auc"] == float(last["eval_auc"])
    (group,) = report["clients"]
    each = {client["client"]: client for client in group["each"]}
    assert "auc" not in each["west"]["metrics"]
    assert each["west"]["metrics"]["majority_accuracy"] == 1.0
    assert group["metrics"]["auc"]["clients"] == 2
    assert any(line.startswith("west 20 ") for line in lines)


def test_no_client_stands_in_the_card_of_an_export(clinic_run, tmp_path):
    folder, _, _ = clinic_run
    done = run_script(
        "export.py",
        *("--run_dir=run", f"--output={tmp_path / 'model'}"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    extra = tmp_path / "model" / "assets.extra"
    card = json.loads((extra / "model_card.json").read_text())
    assert card["metrics"]["classes"]["names"] == ["healthy", "ill"]
    assert card["metrics"]["clients"][0]["metrics"]["auc"]["clients"] == 2
    for path in extra.rglob("*"):
        if path.is_file():
            for client in (b"north", b"south", b"west"):
                assert client not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("script", "argument", "words"),
    [
        ("evaluate.py", "--threshold=1", "--threshold=1.0: must be above 0"),
        ("train.py", "--class_weights=1,2,3", "in this order: healthy, ill"),
        ("train.py", "--class_weights=1;2", "--class_weights=1;2: must be"),
    ],
)
def test_scores_and_weights_name_the_mistake(
    clinic_run, script, argument, words
):
    folder, arguments, _ = clinic_run
    arguments = {
        "evaluate.py": ["--run_dir=run"],
        "train.py": [*arguments, "--output_dir=other"],
    }[script]
    done = run_script(script, *arguments, argument, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "other").exists()


def test_balanced_weights_and_privacy_exclude_each_other(clinic_run):
    folder, arguments, _ = clinic_run
    done = run_script(
        "train.py",
        *arguments,
        *("--aggregator=dp_gaussian", "--dp_clip=1"),
        *("--dp_noise_multiplier=1", "--output_dir=other"),
        cwd=folder,
    )
    assert done.returncode == 2
    assert "--class_weights=balanced counts the labels" in done.stderr
    assert done.stderr.count("\n") == 1
