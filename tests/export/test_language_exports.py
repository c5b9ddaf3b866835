"""Exports of language models: the adapter is in its base's weights."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import tiny_language_models, tiny_tokenizers
from tests.testing.scripts import run_script
from tff_pipeline import errors, experiment, registry
from tff_pipeline.commands import generate
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.export import check, formats, saved_model
from tff_pipeline.models.pretrained import huggingface, source
from tff_pipeline.models.transformer import adapter
from tff_pipeline.models.transformer import base as bases

IDS = np.random.default_rng(5).integers(344, size=[3, 17]).astype(np.int32)
QUESTION = {"prompt": "To be, or", "length": 12, "temperature": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    tiny_language_models.write_roles(folder)
    tiny_language_models.write(folder / "llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def task_of(folder, dtype="float32", **options):
    model = ModelConfig(
        init_from=str(folder / "llama"),
        base_dtype=dtype,
        compute_dtype="float32",
        sequence_length=16,
        **options,
    )
    return registry.load("shakespeare_llm", registry.TASKS)(
        DataConfig(task="shakespeare_llm", data_dir=str(folder), model=model),
        0,
    )


def lora_task(folder, dtype="float32"):
    return task_of(folder, dtype, trainable="lora", lora_rank=2, lora_alpha=8.0)


def learned(task):
    """Weights that are some way off the first ones."""
    draw = np.random.default_rng(0)
    first = experiment.initial_weights(task, 0)
    return tff.learning.models.ModelWeights(
        [
            value + 0.3 * draw.normal(size=value.shape).astype(np.float32)
            for value in first.trainable
        ],
        list(first.non_trainable),
    )


@pytest.fixture(scope="module")
def task(folder):
    return lora_task(folder)


@pytest.fixture(scope="module")
def weights(task):
    return learned(task)


@pytest.fixture(scope="module")
def exported(folder, task, weights):
    path = str(folder / "saved")
    formats.write("saved_model", task, weights, path)
    return path


@pytest.fixture(scope="module")
def written(folder, task, weights):
    path = str(folder / "written")
    formats.write("huggingface", task, weights, path)
    return path


def merged(task, weights):
    """The weights as PEFT merges them: W + alpha / rank * B A."""
    model, _ = saved_model.restored(task, weights)
    return adapter.merged(task.base.arrays(), task.adapter_fn(model))


def saved_arrays(path):
    reader = tf.train.load_checkpoint(f"{path}/variables/variables")
    return [
        reader.get_tensor(name)
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype.is_floating
    ]


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.soak)]
)
def test_a_saved_model_holds_the_merged_weights_alone(
    dtype, folder, exported, tmp_path
):
    task, path = lora_task(folder, dtype), exported
    if dtype != "float32":
        path = str(tmp_path / "saved")
        saved_model.export(task, learned(task), path)
    expected = bases.Stacked(
        merged(task, learned(task)), task.base.architecture
    )
    saved = saved_arrays(path)
    assert {value.dtype.name for value in saved} == {dtype}
    found = sorted((value.shape, value.tobytes()) for value in saved)
    assert found == sorted(
        (value.shape, value.tobytes()) for value in expected.values()
    )
    # It needs no file of the base.
    assert not check.check(path).failing


def test_what_is_served_is_what_was_trained(task, weights, exported):
    model, serving = saved_model.restored(task, weights)
    signatures = tf.saved_model.load(exported).signatures
    nats = signatures["encoded"](encoded=tf.constant(IDS))["nats"]
    scores = model(IDS, training=False)
    np.testing.assert_allclose(nats, scores[..., 0], rtol=1e-4, atol=1e-5)
    logits = signatures["serving_default"](tokens=tf.constant(IDS))["logits"]
    np.testing.assert_allclose(
        logits, serving(IDS, training=False), rtol=1e-4, atol=1e-5
    )
    # The base alone says something else.
    first, _ = saved_model.restored(task, experiment.initial_weights(task, 0))
    assert np.abs(first(IDS, training=False)[..., 0] - nats).max() > 0.1


def test_ids_go_on_as_the_script_writes_them(task, exported):
    signatures = tf.saved_model.load(exported).signatures
    generated = signatures["generate_ids"]
    ids = task.tokenizer.encode("To be, or")
    result = generated(
        prompts=tf.constant([ids]),
        counts=tf.constant([len(ids)]),
        length=tf.constant(12),
        temperature=tf.constant(0.0),
        top_p=tf.constant(1.0),
        seed=tf.constant(0),
    )
    added = result["ids"][0, : int(result["counts"][0])].numpy().tolist()
    serve = signatures["serving_default"]
    ends, text = [0, tiny_language_models.CHAT_END], ids.tolist()
    for number in added:
        logits = serve(tokens=tf.constant([text]))["logits"][0].numpy()
        # Special tokens that end nothing, and what no token is.
        logits[[1, *range(340, 344)]] = -np.inf
        assert logits.argmax() == number
        text.append(number)
    assert added
    assert not set(added) & set(ends)


def test_weights_that_are_no_sum_of_base_and_adapter_are_not_exported(
    task, weights, tmp_path
):
    def wrongly(model):
        made = task.merged_fn(model)
        (kernel,) = (
            variable
            for variable in made.variables
            if variable.name.endswith("attention.value.kernel:0")
        )
        kernel.assign(kernel + 1e-6)
        return made

    spoilt = dataclasses.replace(task, merged_fn=wrongly)
    with pytest.raises(
        errors.RunDirectoryError, match=r"saved variable .* neither"
    ):
        saved_model.export(spoilt, weights, str(tmp_path / "saved"))
    assert not os.path.exists(tmp_path / "saved")


def test_all_weights_that_train_are_exported(folder, tmp_path):
    task = task_of(folder, trainable="all")
    weights = learned(task)
    formats.write("huggingface", task, weights, str(tmp_path / "all"))
    read = huggingface.read(str(tmp_path / "all"))
    stored = bases.Stacked(
        {
            name: place.weight(read.read(place.name))
            for name, place in read.stored.items()
        },
        read.architecture,
    )
    assert len(weights.trainable) == len(stored)
    for value, found in zip(weights.trainable, stored.values()):
        np.testing.assert_array_equal(found, value)


def test_a_folder_of_hugging_face_is_a_pretrained_model(task, weights, written):
    opened = source.open_base(written)
    expected = merged(task, weights)
    arrays = opened.arrays()
    assert arrays.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(arrays[name], value)
    assert opened.architecture == task.base.architecture
    assert opened.settings == task.base.settings
    content = pathlib.Path(written, "tokenizer.json").read_bytes()
    assert content == tiny_tokenizers.content()


def test_cards_name_the_base_what_trained_and_what_is_written(
    task, exported, written
):
    extra = pathlib.Path(exported, "assets.extra")
    card = json.loads((extra / "model_card.json").read_text())
    assert card["base"] == {
        "source": task.base.source,
        "sha256": task.base.weights.sha256,
        # Of rank 2, on queries of 16 x 16 and values of 8 x 16, two blocks.
        "trained_weights": 2 * 2 * (16 + 16 + 16 + 8),
        "weights": task.base.architecture.num_parameters() + 224,
        "covered_by_privacy_statement": False,
        "adapter": {"rank": 2, "alpha": 8.0, "matrices": 4},
    }
    prompts = [sample["prompt"] for sample in card["samples"]]
    assert prompts == ["The", "Once upon a time", "To be"]
    for sample in card["samples"]:
        # At temperature 0, of the folder too.
        assert sample["text"] == generate.text(
            prompt=sample["prompt"],
            init_from=written,
            length=20,
            temperature=0.0,
        )
    readme = pathlib.Path(written, "README.md").read_text()
    for words in ((extra / "model_card.md").read_text(), readme):
        assert task.base.weights.sha256 in words
        assert "224 were trained here" in words
        assert card["samples"][0]["text"].splitlines()[0] in words
        assert "role 0" not in words
    assert readme.startswith('---\npipeline_tag: "text-generation"\n')


def test_models_that_hugging_face_has_not_are_refused(tmp_path):
    path = str(tmp_path / "out")
    digits = registry.load("digits_2nn", registry.TASKS)(
        DataConfig(task="digits_2nn", num_clients=5), 0
    )
    first = experiment.initial_weights(digits, 0)
    with pytest.raises(errors.ConfigError, match="is for language models"):
        formats.write("huggingface", digits, first, path)
    tiny_language_models.write_roles(tmp_path)
    own = registry.load("shakespeare_gpt", registry.TASKS)(
        DataConfig(task="shakespeare_gpt", data_dir=str(tmp_path)), 0
    )
    first = experiment.initial_weights(own, 0)
    with pytest.raises(errors.DataError, match="no Llama, GPT-2 or BERT"):
        formats.write("huggingface", own, first, path)
    with pytest.raises(errors.ConfigError, match="--format=keras cannot"):
        formats.write("keras", own, first, f"{path}.keras")
    assert os.listdir(tmp_path) == ["shakespeare_roles.jsonl.gz"]


@pytest.mark.soak
def test_a_run_is_exported_by_the_script(folder, tmp_path):
    run = tmp_path / "run"
    done = run_script(
        "train.py",
        f"--output_dir={run}",
        f"--data_dir={folder}",
        *("--task=shakespeare_llm", f"--init_from={folder / 'llama'}"),
        *("--clients_per_round=2", "--total_rounds=1", "--sequence_length=16"),
        *("--client_batch_size=2", "--lora_rank=2"),
    )
    assert done.returncode == 0, done.stderr
    done = run_script(
        "export.py",
        f"--run_dir={run}",
        f"--output={tmp_path / 'out'}",
        "--format=huggingface,saved_model",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "generate.py --init_from=" in done.stdout
    by_run, by_folder = (
        generate.text(**model, **QUESTION)
        for model in (
            {"run_dir": str(run)},
            {"init_from": str(tmp_path / "out" / "huggingface")},
        )
    )
    assert by_run == by_folder
    done = run_script(
        "check_export.py", f"--model={tmp_path / 'out' / 'saved_model'}"
    )
    assert done.returncode == 0, done.stderr
    done = run_script("verify.py", f"--run_dir={run}")
    assert done.returncode == 0, done.stderr
