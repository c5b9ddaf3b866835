"""Folders for Hugging Face are what its own libraries write."""

import dataclasses
import json
import os
import pathlib

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file

from tests.testing import tiny_tokenizers
from tests.testing.peft_golden import ARCHITECTURES, FAMILIES, GOLDEN, weights
from tff_pipeline import errors
from tff_pipeline.models.pretrained import (
    huggingface,
    names,
    write_huggingface,
)
from tff_pipeline.models.transformer import adapter, adapter_reader
from tff_pipeline.models.transformer import architecture as architectures
from tff_pipeline.models.transformer.base import TokenizerSettings

WEIGHTS = "model.safetensors"


@pytest.fixture
def written(tmp_path):
    def write(family, arrays=None, **options):
        folder = str(tmp_path / family)
        write_huggingface.write(
            folder, arrays or weights(family), ARCHITECTURES[family], **options
        )
        return folder

    return write


def config_of(folder):
    return json.loads(pathlib.Path(folder, "config.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_are_those_of_save_pretrained(written, family):
    folder = written(family)
    ours, theirs = (
        load_file(f"{path}/{WEIGHTS}") for path in (folder, GOLDEN / family)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        np.testing.assert_array_equal(value, theirs[name])
    with safetensors.safe_open(f"{folder}/{WEIGHTS}", "np") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_is_that_of_save_pretrained(written, family):
    settings = TokenizerSettings(1, 2, None)
    ours = config_of(written(family, settings=settings))
    theirs = config_of(GOLDEN / family)
    assert (ours.pop("bos_token_id"), ours.pop("eos_token_id")) == (1, 2)
    assert ours.pop("pad_token_id") is None
    # Of GPT-2, they leave out what is as in most models.
    theirs.setdefault("tie_word_embeddings", True)
    assert ours == {name: theirs[name] for name in ours}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_is_read(written, family):
    checkpoint = huggingface.read(written(family))
    assert checkpoint.architecture == ARCHITECTURES[family]
    for name, value in weights(family).items():
        place = checkpoint.stored[name]
        np.testing.assert_array_equal(
            place.weight(checkpoint.read(place.name)), value
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_model_has_the_merged_weights_of_peft(written, family):
    of_peft = adapter_reader.read(
        str(GOLDEN / family), ARCHITECTURES[family], "ab" * 32
    )
    merged = adapter.merged(weights(family), of_peft)
    ours = load_file(f"{written(family, merged)}/{WEIGHTS}")
    theirs = load_file(GOLDEN / family / "merged.safetensors")
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-6)


def test_large_models_are_written_in_several_files(written):
    folder = written("llama", most_bytes=2_000)
    index = json.loads(
        pathlib.Path(folder, f"{WEIGHTS}.index.json").read_text()
    )
    files = sorted({*index["weight_map"].values()})
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert not os.path.exists(f"{folder}/{WEIGHTS}")
    tensors = {}
    for file in files:
        found = load_file(f"{folder}/{file}")
        assert {index["weight_map"][name] for name in found} == {file}
        tensors.update(found)
    assert tensors.keys() == load_file(GOLDEN / "llama" / WEIGHTS).keys()
    assert huggingface.read(folder).architecture == ARCHITECTURES["llama"]


def test_bfloat16_stays_bfloat16(written):
    halves = {
        name: value.astype(ml_dtypes.bfloat16)
        for name, value in weights("llama").items()
    }
    folder = written("llama", halves)
    assert config_of(folder)["torch_dtype"] == "bfloat16"
    checkpoint = huggingface.read(folder)
    for name, value in halves.items():
        np.testing.assert_array_equal(
            checkpoint.read(checkpoint.stored[name].name),
            value.astype(np.float32),
        )


def test_a_tokenizer_comes_back_with_its_special_tokens(tmp_path):
    content = tiny_tokenizers.content()
    architecture = dataclasses.replace(
        ARCHITECTURES["llama"], vocabulary_size=340
    )
    draw = np.random.default_rng(0)
    arrays = {
        name: draw.normal(size=shape).astype(np.float32)
        for name, shape in architecture.weight_shapes().items()
    }
    settings = TokenizerSettings(1, 2, 0, tiny_tokenizers.CHATML)
    folder = tmp_path / "llama"
    write_huggingface.write(
        str(folder),
        arrays,
        architecture,
        tokenizer=content,
        settings=settings,
    )
    checkpoint = huggingface.read(str(folder))
    assert checkpoint.settings == settings
    assert json.loads(checkpoint.tokenizer) == json.loads(content)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"], config["pad_token"]) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
    )
    # A decoder takes no token types.
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation == {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def test_a_model_of_no_family_is_refused(tmp_path):
    own = architectures.character_model(20, 16)
    with pytest.raises(errors.DataError, match="activation=relu_squared"):
        write_huggingface.write(str(tmp_path / "own"), {}, own)


def test_weights_of_another_architecture_are_refused(tmp_path):
    arrays = weights("llama")
    arrays["extra"] = arrays.pop("embeddings.tokens")
    with pytest.raises(
        errors.DataError, match=r"misses embeddings\.tokens; it"
    ):
        write_huggingface.write(
            str(tmp_path / "llama"), arrays, ARCHITECTURES["llama"]
        )
    assert not (tmp_path / "llama").exists()


@pytest.mark.parametrize(
    ("family", "changes", "expected"),
    [
        ("llama", {}, "llama"),
        ("llama", {"bias": True}, "llama"),
        ("llama", {"normalized_heads": True}, names.OWN),
        ("llama", {"activation": "gelu"}, names.OWN),
        ("llama", {"norm": "layer"}, names.OWN),
        ("gpt2", {}, "gpt2"),
        ("gpt2", {"activation": "gelu"}, "gpt2"),
        ("gpt2", {"bias": False}, names.OWN),
        ("gpt2", {"fused_attention": False}, names.OWN),
        ("gpt2", {"head_width": 8}, names.OWN),
        ("bert", {}, "bert"),
        ("bert", {"pooler": False}, "bert"),
        ("bert", {"token_types": 0}, names.OWN),
        ("bert", {"kind": "decoder"}, names.OWN),
        ("bert", {"kv_heads": 1}, names.OWN),
    ],
)
def test_a_family_is_told_by_all_parts(family, changes, expected):
    architecture = dataclasses.replace(ARCHITECTURES[family], **changes)
    assert names.family(architecture) == expected
