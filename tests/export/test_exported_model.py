"""An exported model in the hands of others: tools, C, TF Serving."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_serving.apis import prediction_log_pb2

from tests.testing import small_models
from tests.testing.every_task import learned, task_of
from tests.testing.scripts import ROOT, run_script
from tests.testing.soaked import soaked
from tff_pipeline import errors
from tff_pipeline.commands import saved_runs
from tff_pipeline.datasets import digits
from tff_pipeline.export import check, formats, replay, saved_model
from tff_pipeline.runs import metrics_file

TENSORFLOW = os.path.dirname(tf.__file__)


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    """(What export.py wrote of small_run, what it said)."""
    path = tmp_path_factory.mktemp("exported") / "digits"
    done = run_script(
        "export.py", f"--run_dir={small_run}", f"--output={path}", "--version=3"
    )
    assert done.returncode == 0, done.stderr
    return path / "3", done.stdout


def test_accuracy_is_the_runs_to_the_last_digit(exported, small_run):
    _, test = digits.load()
    serve = tf.saved_model.load(str(exported[0])).signatures["serving_default"]
    found = serve(image=tf.constant(test.x))["class_id"].numpy()
    last = metrics_file.read(str(small_run / "metrics.csv"))[-1]
    share = np.mean(found == test.y, dtype=np.float32)
    assert float(share) == last["eval_accuracy"]


def cli(*arguments):
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "saved_model_cli"),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def signature(path, name="serving_default"):
    return cli(
        *("show", "--dir", path, "--tag_set", "serve"),
        *("--signature_def", name),
    )


@pytest.mark.soak
def test_saved_model_cli_shows_and_runs_it(exported, tmp_path):
    path, _ = exported
    shown = cli("show", "--dir", path, "--tag_set", "serve")
    for name in ("serving_default", "predict_examples", "features"):
        assert f'"{name}"' in shown
    assert "inputs['image']" in signature(path)
    _, test = digits.load()
    np.save(tmp_path / "image.npy", test.x[:5])
    cli(
        *("run", "--dir", path, "--tag_set", "serve"),
        *("--signature_def", "serving_default"),
        *("--inputs", f"image={tmp_path / 'image.npy'}"),
        *("--outdir", tmp_path),
    )
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    wanted = serve(image=tf.constant(test.x[:5]))
    for name, value in wanted.items():
        np.testing.assert_array_equal(
            np.load(tmp_path / f"{name}.npy"), value.numpy()
        )


@pytest.mark.soak
def test_tensorflows_c_library_gives_the_same_numbers(exported, tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    program = tmp_path / "serve_model"
    subprocess.run(
        [
            *("gcc", "-O1", "-Wall", "-Werror", "-o", str(program)),
            *(str(ROOT / "tests" / "serve_model.c"), f"-I{TENSORFLOW}/include"),
            *(f"-L{TENSORFLOW}", f"-Wl,-rpath,{TENSORFLOW}"),
            "-l:libtensorflow_cc.so.2",
            "-l:libtensorflow_framework.so.2",
        ],
        check=True,
    )
    path, _ = exported
    # As they are called in the graph, which only tools need to know.
    shown = signature(path)
    inputs = re.search(r"inputs\['image'\].*?name: (\S+)", shown, re.S)[1]
    outputs = re.search(
        r"outputs\['probabilities'\].*?name: (\S+)", shown, re.S
    )[1]
    image = digits.load()[1].x[:1]
    done = subprocess.run(
        [program, path, inputs, outputs],
        input=image.tobytes(),
        capture_output=True,
        check=True,
    )
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    wanted = serve(image=tf.constant(image))["probabilities"].numpy()[0]
    found = np.array(done.stdout.split(), np.float32)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.soak
def test_serialised_examples_are_classified(exported):
    path, _ = exported
    # TF Serving's classify API looks for this method.
    assert "Method name is: tensorflow/serving/classify" in signature(
        path, "predict_examples"
    )
    loaded = tf.saved_model.load(str(path))
    images = digits.load()[1].x[:4]
    examples = replay.serialised({"image": images})
    given = loaded.signatures["predict_examples"](inputs=tf.constant(examples))
    wanted = loaded.signatures["serving_default"](image=tf.constant(images))
    likeliest = [int(name) for name in given["classes"].numpy()[:, 0]]
    assert likeliest == wanted["class_id"].numpy().tolist()
    np.testing.assert_allclose(
        given["scores"].numpy()[:, 0],
        wanted["probabilities"].numpy().max(axis=1),
    )


def test_papers_lie_with_the_model(exported, small_run):
    path, said = exported
    extra = path / "assets.extra"
    assert f"python scripts/check_export.py --model={path}" in said
    card = json.loads((extra / "model_card.json").read_text())
    assert card["task"] == "digits_2nn"
    assert card["classes"] == list("0123456789")
    assert card["rounds"] == 10
    assert card["data"]["training_clients"] == 12
    last = metrics_file.read(str(small_run / "metrics.csv"))[-1]
    assert card["metrics"]["central"]["accuracy"] == last["eval_accuracy"]
    (group,) = card["metrics"]["clients"]
    assert {"mean", "p10", "median", "p90"} <= set(group["metrics"]["accuracy"])
    assert "worst" not in group
    records = (small_run / "rounds.jsonl").read_text().splitlines()
    rounds = [r for r in map(json.loads, records) if r["kind"] == "round"]
    assert card["state_sha256"] == rounds[-1]["state"]
    words = (extra / "model_card.md").read_text()
    assert "# digits_2nn" in words
    # What left a client is said there as at the run's start.
    assert (
        card["travels"]
        == (small_run / "travels.txt").read_text().split("\n")[:-1]
    )
    assert "What leaves a client: the model delta and its weight" in words
    assert (extra / "classes.txt").read_text().split() == list("0123456789")
    config = json.loads((extra / "config.json").read_text())
    assert config["data"]["task"] == "digits_2nn"


def test_warm_up_requests_are_what_tf_serving_reads(exported):
    path = exported[0] / "assets.extra" / "tf_serving_warmup_requests"
    serve = tf.saved_model.load(str(exported[0])).signatures["serving_default"]
    sizes = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        image = tf.make_ndarray(request.inputs["image"])
        sizes.append(len(serve(image=tf.constant(image))["class_id"]))
    assert sizes == [1, 8]


def test_check_export_holds_and_finds_what_was_changed(exported, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(exported[0], path)
    done = run_script("check_export.py", f"--model={path}")
    assert done.returncode == 0, done.stderr
    for name in ("serving_default/logits", "predict_examples/scores"):
        assert f"ok    {name}" in done.stdout
    assert "99th percentile" in done.stdout
    # Another model's numbers.
    file = path / "variables" / "variables.data-00000-of-00001"
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[4000:8000] = 0
    file.write_bytes(content.tobytes())
    done = run_script("check_export.py", f"--model={path}")
    assert done.returncode == 1
    assert "WRONG serving_default/logits" in done.stdout or (
        "cannot be loaded" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_check_export_needs_no_tff(exported):
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; sys.modules['tensorflow_federated'] = None\n"
            "from tff_pipeline.export import check\n"
            f"found = check.check({str(exported[0])!r})\n"
            "assert not found.failing and found.milliseconds[0] > 0",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-1000:]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--round=7"], 2, ["--round=7", "saved rounds", "5, 10"]),
        (["--round=best"], 2, ["--target_metric"]),
        (["--round=first"], 2, ["--round=first"]),
        (["--format=coreml"], 2, ["--format=coreml", "saved_model, keras"]),
        (["--format=keras,keras"], 2, ["each once"]),
        (["--format=keras", "--version=2"], 2, ["--version=2"]),
    ],
)
def test_what_cannot_be_exported_is_said(
    small_run, tmp_path, arguments, status, words
):
    done = run_script(
        "export.py",
        f"--run_dir={small_run}",
        f"--output={tmp_path / 'model'}",
        *arguments,
    )
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", ["saved_model", "keras", *soaked("tflite")])
def test_what_is_there_is_replaced_only_if_asked(small_run, tmp_path, kind):
    path = tmp_path / f"model.{kind}"
    path.write_text("mine")
    arguments = (str(small_run), str(path))
    with pytest.raises(errors.RunDirectoryError, match="--overwrite"):
        saved_runs.export(*arguments, formats=[kind])
    assert path.read_text() == "mine"
    path.unlink()
    saved_runs.export(*arguments, formats=[kind])
    saved_runs.export(*arguments, formats=[kind], overwrite=True)
    assert not [n for n in os.listdir(tmp_path) if n.startswith(".tmp-")]


def test_a_converter_that_is_not_installed_names_the_extra(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for kind, extra in (("onnx", "[onnx]"), ("tfjs", "[tfjs]")):
        with pytest.raises(errors.ConfigError) as raised:
            saved_runs.export(
                str(small_run), str(tmp_path / kind), formats=[kind]
            )
        assert extra in str(raised.value)
        assert not (tmp_path / kind).exists()


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return task_of("digits_2nn", tmp_path_factory.mktemp("task"))


def test_a_variable_that_was_not_trained_is_named(task, tmp_path):
    weights = learned(task)

    def with_more(model):
        image = tf.keras.Input([8, 8, 1], dtype="uint8", name="image")
        scale = tf.keras.layers.Dense(10, name="never_trained")
        return tf.keras.Model(image, scale(model(image)))

    spoilt = dataclasses.replace(task, serving_fn=with_more)
    with pytest.raises(errors.RunDirectoryError, match="never_trained"):
        saved_model.export(spoilt, weights, str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_a_state_of_another_model_is_refused(task, tmp_path):
    weights = learned(task)
    fewer = tff.learning.models.ModelWeights(weights.trainable[:-1], [])
    with pytest.raises(errors.RunDirectoryError, match="is not in the server"):
        saved_model.export(task, fewer, str(tmp_path / "model"))
    more = tff.learning.models.ModelWeights(
        [*weights.trainable, np.float32(1)], []
    )
    with pytest.raises(errors.RunDirectoryError, match="7 trainable"):
        saved_model.export(task, more, str(tmp_path / "model"))


def test_a_number_on_the_disk_that_is_not_of_the_state_is_found(
    task, tmp_path, monkeypatch
):
    weights = learned(task)
    restored = saved_model.restored

    def wrongly(task, weights):
        model, serving = restored(task, weights)
        model.variables[1].assign_add(tf.ones_like(model.variables[1]))
        return model, serving

    monkeypatch.setattr(saved_model, "restored", wrongly)
    with pytest.raises(errors.RunDirectoryError, match="saved variable"):
        saved_model.export(task, weights, str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.mark.soak
def test_text_goes_on_from_a_prompt(tmp_path):
    task = dataclasses.replace(
        task_of("shakespeare_next_char", tmp_path),
        model_fn=small_models.next_character,
    )
    # As drawn, but from a seed: of some weights two characters are as likely.
    tf.keras.utils.set_random_seed(0)
    weights = tff.learning.models.ModelWeights.from_model(task.build_model())
    path = str(tmp_path / "model")
    formats.write("saved_model", task, weights, path)
    assert not check.check(path).failing
    loaded = tf.saved_model.load(path)
    generate = loaded.signatures["generate"]

    def text(prompt, length, temperature=0.0, seed=0):
        return generate(
            prompt=tf.constant([prompt]),
            length=tf.constant(length),
            temperature=tf.constant(temperature),
            seed=tf.constant(seed),
        )["text"].numpy()[0]

    # One after the other, the likeliest are what serving_default calls next.
    prompt = found = b"The quality of mercy is"
    for _ in range(5):
        given = loaded.signatures["serving_default"](text=tf.constant([found]))
        found += given["next"].numpy()[0]
    assert text(prompt, 5) == found
    # Longer than what the model is shown.
    assert text(b"all the world's a stage. " * 5, 5).startswith(b"all the")
    drawn = {text(prompt, 12, 1.0, seed) for seed in range(4)}
    assert len(drawn) == 4
    assert text(prompt, 12, 1.0, 2) in drawn
    assert text(prompt, 0) == prompt
