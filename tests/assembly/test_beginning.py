"""Runs that begin with the weights of a run, a SavedModel or a Keras file."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import rows_of
from tff_pipeline import errors, experiment
from tff_pipeline.assembly.privacy import protect
from tff_pipeline.assembly.task import (
    initial_weights,
    load_described_task,
    load_task,
)
from tff_pipeline.commands import rerun, saved_runs, verify
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.evaluation import central
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory


def config_of(folder, name, init_from=None, rounds=2, finishers="none", **data):
    return ExperimentConfig(
        data=DataConfig(
            **{"task": "digits_2nn", "num_clients": 6, **data},
            model=ModelConfig(init_from=init_from and str(init_from)),
        ),
        clients=ClientConfig(
            clients_per_round=2, optimizer=OptimizerConfig("client", "sgd", 0.1)
        ),
        run=RunConfig(
            output_dir=str(folder / name),
            total_rounds=rounds,
            rounds_per_checkpoint=1,
            rounds_per_eval=1,
            sinks="csv",
            finishers=finishers,
        ),
    )


def run(config, **options):
    said = []
    result = experiment.run(config, announce=said.append, **options)
    return result, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("beginning")


@pytest.fixture(scope="module")
def source(folder):
    """A run of two rounds, with its exported model."""
    run(config_of(folder, "source", finishers="export"))
    return folder / "source"


@pytest.fixture(scope="module")
def transferred(folder, source):
    """A run of three rounds that began with the source."""
    config = config_of(folder, "transferred", source, rounds=3)
    return folder / "transferred", run(config)[1]


def first_weights(config):
    task, environment = load_described_task(config)
    return task, initial_weights(task, config.run.seed), environment


def keras_file(folder, source):
    path = folder / "exported.keras"
    saved_runs.export(str(source), str(path), formats=["keras"], overwrite=True)
    return path


@pytest.mark.parametrize(
    "made",
    [
        lambda folder, source: source,
        lambda folder, source: source / "saved_model",
        keras_file,
    ],
)
def test_the_first_evaluation_is_the_last_of_the_source(folder, source, made):
    config = config_of(folder, "new", made(folder, source))
    task, weights, _ = first_weights(config)
    began = central.Evaluator(task).evaluate(weights, task.test)
    last = rows_of(source)[-1]
    for name in ("loss", "accuracy"):
        assert began[name] == pytest.approx(
            float(last[f"eval_{name}"]), rel=1e-6
        )
    assert "6 of 6 weights of the model (55,210 of" in task.notes


def test_the_weights_are_those_of_the_newest_checkpoint(folder, source):
    _, weights, _ = first_weights(config_of(folder, "new", source))
    store = CheckpointStore(str(source / "checkpoints"))
    _, saved = store.load_weights(2)
    for begun, expected in zip(weights.trainable, saved.trainable):
        np.testing.assert_array_equal(begun, expected)


def test_one_hash_names_what_a_run_begins_with(folder, source, tmp_path):
    hashes = []
    copy = shutil.copytree(source, tmp_path / "elsewhere")
    for place in (source, copy, source / "saved_model"):
        _, _, environment = first_weights(config_of(folder, "new", place))
        hashes.append(environment["data"]["--init_from"])
    assert len(set(hashes)) == 1 and len(hashes[0]) == 64


def test_the_run_says_what_it_begins_with(source, transferred):
    run_dir, said = transferred
    (line,) = [each for each in said if "begin with those of" in each]
    assert "6 of 6 weights of the model" in line and str(source) in line
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["weights"] == {
        "trainable": [
            *("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"),
            *("logits/kernel", "logits/bias"),
        ],
        "non_trainable": [],
    }


def test_it_goes_on_to_the_bit_wherever_the_source_lies(
    folder, source, transferred, tmp_path
):
    moved = shutil.copytree(source, tmp_path / "moved")
    config = config_of(folder, "parts", source, rounds=3)
    run(config, until=1)
    run(config_of(folder, "parts", moved, rounds=3))
    assert rows_of(folder / "parts") == rows_of(transferred[0])


def test_it_does_not_go_on_from_other_weights(folder, transferred, tmp_path):
    run_dir = shutil.copytree(transferred[0], tmp_path / "run")
    task = load_task(config_of(tmp_path, "other"))
    task.build_model().save(tmp_path / "other.keras")
    config = config_of(tmp_path, "run", tmp_path / "other.keras", rounds=4)
    with pytest.raises(
        errors.RunDirectoryError, match="data changed: --init_from; restore"
    ):
        run(config)
    with pytest.raises(errors.RunDirectoryError, match="changed: --init_from"):
        run(config_of(tmp_path, "run", rounds=4))
    # That of round 0 and those of two rounds are still there, with no other.
    assert rows_of(run_dir) == rows_of(transferred[0])


def test_verify_holds_and_the_run_repeats(transferred):
    run_dir = str(transferred[0])
    assert all(finding.holds for finding in verify.verify(run_dir))
    (finding,) = rerun.rerun(run_dir)
    assert finding.holds, finding.text


def test_without_the_source_it_is_evaluated_and_not_repeated(
    folder, transferred, tmp_path
):
    run_dir = shutil.copytree(transferred[0], tmp_path / "run")
    config = json.loads((run_dir / "config.json").read_text())
    config["data"]["model"]["init_from"] = str(tmp_path / "gone")
    (run_dir / "config.json").write_text(json.dumps(config))
    _, report = saved_runs.evaluate(str(run_dir))
    assert 0 < report["central"]["accuracy"] <= 1
    with pytest.raises(errors.ConfigError, match="gone does not exist; name"):
        list(rerun.rerun(str(run_dir)))


def test_another_tasks_layers_are_taken_as_far_as_they_fit(folder, source):
    """Begins a convolutional network with the one weight of a 2NN that fits."""
    config = config_of(folder, "new", source, task="digits_cnn")
    task, weights, _ = first_weights(config)
    assert "1 of 8 weights of the model (10 of" in task.notes
    assert (
        "Of another shape there, and drawn: dense/kernel [128, 64] (there"
        in (task.notes)
    )
    np.testing.assert_array_equal(
        weights.trainable[-1],
        CheckpointStore(str(source / "checkpoints"))
        .load_weights()[1]
        .trainable[-1],
    )


def test_weights_without_a_match_begin_as_without_the_flag(folder, source):
    plain = first_weights(config_of(folder, "new", task="digits_cnn"))[1]
    begun = first_weights(config_of(folder, "new", source, task="digits_cnn"))[
        1
    ]
    for one, other in zip(plain.trainable[:-1], begun.trainable[:-1]):
        np.testing.assert_array_equal(one, other)


def test_a_run_without_a_checkpoint_is_a_sentence(folder, source, tmp_path):
    copy = shutil.copytree(source, tmp_path / "empty")
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(
        errors.RunDirectoryError, match="holds no checkpoint yet; train"
    ):
        first_weights(config_of(folder, "new", copy))


def test_a_run_that_does_not_name_its_weights_has_its_model_read(
    folder, source, tmp_path
):
    """Takes out the weights' names, which older versions did not write."""
    copy = shutil.copytree(source, tmp_path / "old")
    environment = json.loads((copy / "environment.json").read_text())
    del environment["weights"]
    (copy / "environment.json").write_text(json.dumps(environment))
    task, _, _ = first_weights(config_of(folder, "new", copy))
    assert "6 of 6" in task.notes
    shutil.rmtree(copy / "saved_model")
    with pytest.raises(errors.DataError, match=r"scripts/export\.py makes"):
        first_weights(config_of(folder, "new", copy))


def test_a_run_does_not_begin_with_itself(folder, source):
    for name in ("source", os.path.join("source", "")):
        config = config_of(folder, name, source)
        with pytest.raises(errors.ConfigError, match="is --output_dir too"):
            first_weights(config)


def test_privacy_does_not_cover_what_the_run_begins_with(folder, source):
    config = config_of(folder, "new", source)
    task, _, environment = first_weights(config)
    directory = RunDirectory(config.run.output_dir)
    (said,) = protect(config, task, 1, directory, False).uncovered
    assert said.startswith(f"Beginning: the weights of {source} (SHA-256 ")
    assert environment["data"]["--init_from"] in said
    plain = first_weights(config_of(folder, "new"))[0]
    assert not protect(config, plain, 1, directory, False).uncovered


def test_a_models_own_names_are_what_counts(folder, tmp_path):
    model = tf.keras.Sequential(
        [tf.keras.Input([3]), tf.keras.layers.Dense(2, name="other")]
    )
    model.save(tmp_path / "saved", save_format="tf")
    with pytest.raises(errors.ConfigError, match="has none of the model's 6"):
        first_weights(config_of(folder, "new", tmp_path / "saved"))
