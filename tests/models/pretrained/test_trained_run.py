"""A run of a pretrained model as the base of another one."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import tiny_encoder, tiny_language_models
from tests.testing.scripts import rows_of
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment
from tff_pipeline.assembly.task import initial_weights, load_described_task
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.evaluation import central
from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer import adapter, adapter_reader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    tiny_language_models.write_roles(folder / "data")
    tiny_language_models.write(folder / "llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def config_of(folder, name, init_from, task="shakespeare_llm", **model):
    return ExperimentConfig(
        data=DataConfig(
            task=task,
            data_dir=str(folder / "data"),
            model=ModelConfig(
                init_from=init_from and str(init_from),
                sequence_length=16,
                **model,
            ),
        ),
        clients=ClientConfig(
            clients_per_round=2,
            batch_size=2,
            optimizer=OptimizerConfig("client", "adam", 0.01),
        ),
        run=RunConfig(
            output_dir=str(folder / name),
            total_rounds=1,
            rounds_per_checkpoint=1,
            sinks="csv",
            finishers="none",
        ),
    )


def run(config):
    experiment.run(config, announce=lambda _: None)
    return config.run.output_dir


def first_evaluation(config):
    task, _ = load_described_task(config)
    weights = initial_weights(task, config.run.seed)
    return task, central.Evaluator(task).evaluate(weights, task.test)


def ends_as(began, run_dir):
    last = rows_of(run_dir)[-1]
    assert began["loss"] == pytest.approx(float(last["eval_loss"]), rel=1e-5)


@pytest.fixture(scope="module")
def trained(folder):
    """A run that trains both factors of some matrices of one block."""
    config = config_of(
        folder,
        "ab",
        folder / "llama",
        lora_targets=r"value|blocks\.1\.attention\.query",
        lora_rank=2,
    )
    exported = dataclasses.replace(config.run, finishers="export")
    run(dataclasses.replace(config, run=exported))
    return folder / "ab"


def test_its_adapter_is_in_the_new_base(folder, trained):
    base = source.open_base(str(folder / "llama"))
    opened = source.open_base(str(trained))
    read = adapter_reader.read(
        str(trained / "adapter"), base.architecture, base.weights.sha256
    )
    assert len(read.modules) == 3
    merged = adapter.merged(base.arrays(), read)
    for name, array in opened.arrays().items():
        np.testing.assert_array_equal(array, merged[name])
    assert opened.architecture == base.architecture
    assert opened.settings == base.settings
    assert opened.tokenizer is not None
    assert opened.source.startswith(f"{base.source}, then run sha256:")


def test_the_next_run_begins_where_it_ended(folder, trained):
    task, began = first_evaluation(config_of(folder, "next", trained))
    ends_as(began, trained)
    assert task.base.weights.sha256 == task.begins_with["base"]
    # All of it is in the base.
    assert not task.initial_values


@pytest.mark.parametrize(
    "model",
    soaked({"lora_train": "b", "lora_rank": 2}, {"trainable": "all"}),
)
def test_so_it_is_whatever_is_trained(folder, model):
    name = model.get("trainable", "b")
    run_dir = run(config_of(folder, name, folder / "llama", **model))
    _, began = first_evaluation(config_of(folder, "next", run_dir))
    ends_as(began, folder / name)


def test_a_new_checkpoint_is_another_base(folder, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    first = source.open_base(str(copy))
    assert source.open_base(str(copy)) == first
    state = copy / "checkpoints" / "round_000001" / "state.npz"
    os.utime(state, ns=(0, 0))
    again = source.open_base(str(copy))
    assert again.weights.folder != first.weights.folder
    assert again.weights.sha256 == first.weights.sha256


def changed(run_dir, copy, change):
    shutil.copytree(run_dir, copy)
    for name in ("config", "environment"):
        content = json.loads((copy / f"{name}.json").read_text())
        if name in change:
            change[name](content)
        (copy / f"{name}.json").write_text(json.dumps(content))
    return str(copy)


def test_a_run_whose_base_is_gone_or_another_is_a_sentence(
    folder, trained, tmp_path
):
    def moved(content):
        content["data"]["model"]["init_from"] = str(tmp_path / "gone")

    def other(content):
        content["data"]["base"] = "f" * 64

    gone = changed(trained, tmp_path / "a", {"config": moved})
    with pytest.raises(
        errors.ConfigError, match=r"was trained on --init_from=.*gone, which"
    ):
        source.open_base(gone)
    another = changed(trained, tmp_path / "b", {"environment": other})
    with pytest.raises(errors.DataError, match="restore the one that it"):
        source.open_base(another)
    shutil.rmtree(tmp_path / "b" / "checkpoints")
    with pytest.raises(errors.RunDirectoryError, match="no checkpoint yet"):
        source.open_base(another)


def test_a_run_without_a_base_is_none(trained, tmp_path):
    def of_characters(content):
        content["data"]["task"] = "shakespeare_gpt"

    run_dir = changed(trained, tmp_path / "gpt", {"config": of_characters})
    with pytest.raises(
        errors.ConfigError, match="--task=shakespeare_gpt, which stands on no"
    ):
        source.open_base(run_dir)


@pytest.mark.soak
def test_an_encoder_begins_with_the_last_layer_too(folder, tmp_path):
    base = tiny_encoder.store(tmp_path / "base")
    rows = ["who,text,y"]
    rows += [f"ward {i % 3},film {i},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")

    def config(name, init_from):
        table = {"client_column": "who", "label_column": "y"}
        known = config_of(tmp_path, name, init_from)
        data = DataConfig(
            task="csv",
            data_dir=str(tmp_path / "table.csv"),
            text_column="text",
            model=ModelConfig(init_from=init_from, sequence_length=16),
            **table,
        )
        return dataclasses.replace(known, data=data)

    run_dir = run(config("one", base.weights.folder))
    task, began = first_evaluation(config("two", run_dir))
    ends_as(began, tmp_path / "one")
    assert list(task.initial_values) == ["head/kernel", "head/bias"]
    assert "2 of 2 weights of the model beside its base" in task.notes


def character_model(folder, init_from=None, **model):
    config = config_of(folder, "gpt", init_from, "shakespeare_gpt", **model)
    return load_described_task(config)[0]


def test_a_model_of_characters_begins_with_its_weights(folder, tmp_path):
    """All of it trains then, as without `--init_from`."""
    model = character_model(folder).build_model()
    module = tf.Module()
    module.kept = list(model.weights)
    tf.saved_model.save(module, str(tmp_path))
    task = character_model(folder, tmp_path)
    weights = initial_weights(task, 7)
    assert len(weights.trainable) == len(model.weights)
    assert not weights.non_trainable
    for begun, expected in zip(weights.trainable, model.weights):
        np.testing.assert_array_equal(begun, expected.numpy())
    assert task.base is None and "--init_from" in task.begins_with


def test_an_adapter_of_a_model_of_characters_stands_on_its_weights(
    folder, tmp_path
):
    model = character_model(folder).build_model()
    module = tf.Module()
    module.kept = list(model.weights)
    tf.saved_model.save(module, str(tmp_path))
    targets = "query"
    task = character_model(
        folder, tmp_path, trainable="lora", lora_targets=targets
    )
    assert task.weight_names["trainable"] == (
        f"transformer/blocks.attention.{targets}.lora_a",
        f"transformer/blocks.attention.{targets}.lora_b",
    )
    assert len(task.initial_values) == len(model.weights)


def test_a_model_of_characters_has_no_use_for_a_base(folder):
    with pytest.raises(
        errors.ConfigError, match="pretrained transformer, which this task"
    ):
        character_model(folder, folder / "llama")


@pytest.mark.soak
def test_a_run_of_characters_goes_on_where_another_ended(folder):
    run_dir = run(config_of(folder, "gpt", None, "shakespeare_gpt"))
    config = config_of(folder, "gpt2", run_dir, "shakespeare_gpt")
    assert config.data.model.trainable == "all"
    _, began = first_evaluation(config)
    ends_as(began, folder / "gpt")
