"""Runs of language models: what travels, what is kept, and how they go on."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from tests.testing import tiny_language_models
from tests.testing.scripts import rows_of
from tff_pipeline import errors, experiment
from tff_pipeline.commands import rerun, verify
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.models.transformer import adapter_reader
from tff_pipeline.runs.checkpoint import CheckpointStore

# Of the tiny Llama: two blocks of queries [16, 16] and values [8, 16].
RANK = 2
B_NUMBERS = 2 * RANK * (16 + 8)
A_NUMBERS = 2 * RANK * (16 + 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language")
    (folder / "data").mkdir()
    tiny_language_models.write_roles(folder / "data")
    tiny_language_models.write(folder / "llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def config_of(folder, name, rounds=2, **options):
    model = {
        "init_from": str(folder / "llama"),
        "sequence_length": 16,
        "lora_rank": RANK,
        "lora_alpha": 8.0,
        **options.pop("model", {}),
    }
    clients = {"clients_per_round": 2, "batch_size": 2} | options.pop(
        "clients", {}
    )
    return ExperimentConfig(
        data=DataConfig(
            task="shakespeare_llm",
            data_dir=str(folder / "data"),
            model=ModelConfig(**model),
        ),
        clients=ClientConfig(
            optimizer=OptimizerConfig("client", "adam", 0.01), **clients
        ),
        run=RunConfig(
            output_dir=str(folder / name),
            total_rounds=rounds,
            rounds_per_checkpoint=1,
            sinks="csv",
            finishers="export",
        ),
        **options,
    )


def quiet(_):
    """Prints nothing."""


@pytest.fixture(scope="module")
def trained(folder):
    experiment.run(config_of(folder, "ab"), announce=quiet)
    return folder / "ab"


@pytest.fixture(scope="module")
def only_b(folder):
    config = config_of(folder, "b", model={"lora_train": "b"})
    experiment.run(config, announce=quiet)
    return folder / "b"


def test_only_the_adapter_travels_and_is_kept(trained, only_b):
    for run, numbers in ((trained, A_NUMBERS + B_NUMBERS), (only_b, B_NUMBERS)):
        for row in rows_of(run)[1:]:
            assert row["bytes_down"] == str(4 * numbers)
            # And what the client counts for.
            assert row["bytes_up"] == str(4 * numbers + 4)
        store = CheckpointStore(str(run / "checkpoints"))
        _, weights = store.load_weights(2)
        kept = [np.asarray(value) for value in weights.trainable]
        assert sum(value.size for value in kept) == numbers
        assert not list(weights.non_trainable)


def test_the_base_is_named_by_its_hash(trained):
    environment = json.loads((trained / "environment.json").read_text())
    hashes = environment["data"]
    assert hashes["base"] == hashes["frozen weights 1"]


def test_what_the_base_knew_is_told_before_the_first_round(trained):
    before, first, *_ = rows_of(trained)
    assert before["round"] == "0"
    # B begins with zeros, so that the base alone was evaluated.
    assert float(before["eval_loss"]) > 0
    assert not before["train_loss"]
    assert not before["clients"]
    assert float(first["eval_loss"]) != float(before["eval_loss"])


def test_the_error_of_the_mean_is_a_column_where_both_factors_train(
    trained, only_b
):
    rows = rows_of(trained)[1:]
    errors_of = [float(row["lora_mean_error"]) for row in rows]
    assert all(0 < error < 1 for error in errors_of)
    assert "lora_mean_error" not in rows_of(only_b)[0]


def test_the_run_ends_with_its_adapter(folder, trained):
    assert not (trained / "saved_model").exists()
    tensors, metadata = adapter_reader.read_tensors(str(trained / "adapter"))
    assert len(tensors) == 8
    environment = json.loads((trained / "environment.json").read_text())
    assert metadata["base_sha256"] == environment["data"]["base"]
    store = CheckpointStore(str(trained / "checkpoints"))
    _, weights = store.load_weights(2)
    stacked = np.asarray(next(iter(weights.trainable)))
    prefix = "base_model.model.model.layers"
    for block in range(2):
        name = f"{prefix}.{block}.self_attn.q_proj.lora_A.weight"
        np.testing.assert_array_equal(tensors[name], stacked[block])


@pytest.mark.soak
def test_run_again_it_gives_the_same_bits(trained):
    (finding,) = rerun.rerun(str(trained))
    assert finding.holds, finding
    assert "all 2 rounds gave the same state" in finding.text


def test_verify_holds_and_sees_a_changed_adapter(trained, tmp_path):
    assert all(finding.holds for finding in verify.verify(str(trained)))
    copy = shutil.copytree(trained, tmp_path / "run")
    path = copy / "adapter" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    wrong = [f.text for f in verify.verify(str(copy)) if not f.holds]
    assert len(wrong) == 1 and "was changed" in wrong[0]


@pytest.mark.soak
def test_it_goes_on_to_the_bit(folder, trained):
    config = config_of(folder, "parts")
    experiment.run(config, announce=quiet, until=1)
    experiment.run(config, announce=quiet)
    assert rows_of(folder / "parts") == rows_of(trained)
    one, other = (
        (run / "adapter" / "adapter_model.safetensors").read_bytes()
        for run in (folder / "parts", trained)
    )
    assert one == other


@pytest.mark.soak
def test_an_adapter_is_taken_in(folder, trained):
    config = config_of(
        folder,
        "taken_in",
        rounds=1,
        model={"init_adapter": str(trained / "adapter")},
    )
    experiment.run(config, announce=quiet)
    environment = json.loads(
        (folder / "taken_in" / "environment.json").read_text()
    )
    assert "adapter adapter_model.safetensors" in environment["data"]
    config = config_of(
        folder,
        "other_rank",
        model={"init_adapter": str(trained / "adapter"), "lora_rank": 4},
    )
    with pytest.raises(errors.ConfigError, match="has rank 2 and alpha 8"):
        experiment.run(config, announce=quiet)
    assert not os.path.exists(folder / "other_rank")


def test_a_run_does_not_go_on_with_another_base(folder, trained, tmp_path):
    for name in ("ab", "data"):
        shutil.copytree(folder / name, tmp_path / name)
    tiny_language_models.write(tmp_path / "llama", seed=1)
    with pytest.raises(errors.RunDirectoryError, match="data changed: base"):
        experiment.run(config_of(tmp_path, "ab", rounds=3), announce=quiet)


def test_privacy_of_the_adapter_says_what_it_does_not_cover(folder):
    config = config_of(
        folder,
        "private",
        rounds=1,
        model={"lora_train": "b"},
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(
            dp_noise_multiplier=1.0, dp_clip=0.5, dp_delta=1e-3, dp_noise_seed=3
        ),
        clients={"sampling": "poisson"},
    )
    experiment.run(config, announce=quiet)
    statement = json.loads((folder / "private" / "privacy.json").read_text())
    (base,) = [s for s in statement["not_covered"] if s.startswith("Base:")]
    assert "huggingface sha256:" in base and "--trainable=lora" in base
    _, row = rows_of(folder / "private")
    assert row["bytes_up"] == str(4 * B_NUMBERS + 4)
    assert "lora_mean_error" not in row


_NO_LORA = dict.fromkeys(["lora_rank", "lora_alpha"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"sequence_length": 65}, "more than the 64 positions"),
        ({"lora_targets": "q_proj"}, "hits no matrix"),
        (
            {"trainable": "head"} | _NO_LORA,
            "trains nothing",
        ),
        ({"init_from": "nowhere"}, "--init_from=nowhere"),
        (
            {"init_from": None, "trainable": "all"} | _NO_LORA,
            "--init_from is not set",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_run(folder, model, words):
    with pytest.raises(errors.PipelineError, match=words):
        experiment.run(
            config_of(folder, "refused", model=model), announce=quiet
        )
    assert not os.path.exists(folder / "refused")


def test_a_model_that_cannot_fit_says_what_it_needs(folder, monkeypatch):
    monkeypatch.setattr(
        "tff_pipeline.assembly.memory._available", lambda: 100_000
    )
    with pytest.raises(errors.ConfigError, match="needs about") as error:
        experiment.run(config_of(folder, "large"), announce=quiet)
    assert "--client_micro_batch_size" in str(error.value)
    assert not os.path.exists(folder / "large")


@pytest.mark.soak
def test_micro_batches_make_the_same_step(folder, trained):
    config = config_of(
        folder, "micro", rounds=1, clients={"micro_batch_size": 1}
    )
    experiment.run(config, announce=quiet)
    (row,) = rows_of(folder / "micro")
    whole = rows_of(trained)[0]
    for column in ("train_loss", "eval_loss", "eval_bits_per_character"):
        assert float(row[column]) == pytest.approx(
            float(whole[column]), rel=2e-5
        )


@pytest.mark.soak
def test_instructions_are_learned_from_answers_alone(folder):
    path = folder / "instructions.jsonl"
    lines = [
        {"client": f"c{i % 2}", "prompt": "Say it", "response": "the end?"}
        for i in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = config_of(folder, "chat", rounds=1)
    data = DataConfig(
        task="instruction_tuning",
        data_dir=str(path),
        model=ModelConfig(init_from=str(folder / "llama"), sequence_length=48),
    )
    config = ExperimentConfig(data=data, clients=config.clients, run=config.run)
    done = experiment.run(config, announce=quiet)
    assert 0 < done.evaluation["bits_per_character"] < 30
    assert (
        "the end"
        not in (pathlib.Path(folder) / "chat" / "rounds.jsonl").read_text()
    )
