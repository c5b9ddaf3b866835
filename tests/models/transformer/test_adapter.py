"""Adapters are PEFT's folders, both ways, and merge as PEFT merges them."""

import dataclasses
import json
import os
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from tests.testing.peft_golden import ARCHITECTURES, FAMILIES, GOLDEN, weights
from tff_pipeline import errors
from tff_pipeline.models.pretrained import names
from tff_pipeline.models.transformer import adapter, adapter_reader
from tff_pipeline.models.transformer import architecture as architectures

BASE, OTHER = "ab" * 32, "cd" * 32
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def golden(family):
    return adapter_reader.read(
        str(GOLDEN / family), ARCHITECTURES[family], BASE
    )


@pytest.fixture
def written(tmp_path):
    """Writes an adapter into a folder, and returns its path."""

    def write(family, what=None, **changes):
        what = dataclasses.replace(what or golden(family), **changes)
        folder = str(tmp_path / family)
        adapter.write(folder, what, ARCHITECTURES[family], family)
        return folder

    return write


@pytest.fixture
def peft_folder(tmp_path):
    """Copies PEFT's folder, with settings or tensors changed."""

    def copy(family="llama", tensors=None, **settings):
        folder = tmp_path / "peft"
        shutil.copytree(GOLDEN / family, folder)
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **settings}))
        if tensors is not None:
            save_file(tensors(load_file(folder / WEIGHTS)), folder / WEIGHTS)
        return str(folder)

    return copy


def read(folder, family="llama", base=BASE):
    return adapter_reader.read(folder, ARCHITECTURES[family], base)


def assert_equal(one, other):
    assert (one.rank, one.alpha, one.dropout) == (
        other.rank,
        other.alpha,
        other.dropout,
    )
    assert list(one.modules) == list(other.modules)
    for name in one.modules:
        for mine, theirs in zip(one.modules[name], other.modules[name]):
            assert mine.dtype == theirs.dtype == np.float32
            np.testing.assert_array_equal(mine, theirs)


# What PEFT wrote.


def test_an_adapter_of_peft_has_our_names():
    of_llama, of_gpt2, of_bert = map(golden, FAMILIES)
    assert list(of_llama.modules) == [
        f"blocks.{block}.{name}"
        for block in (0, 1)
        for name in ("attention.query", "attention.value", "feed_forward.down")
    ]
    assert list(of_gpt2.modules) == [
        f"blocks.{block}.{name}"
        for block in (0, 1)
        for name in ("attention.query_key_value", "feed_forward.down")
    ]
    assert "blocks.1.feed_forward.up" in of_bert.modules
    assert (of_llama.rank, of_llama.alpha, of_llama.dropout) == (2, 5.0, 0.1)
    a, b = of_llama.modules["blocks.0.feed_forward.down"]
    assert (a.shape, b.shape) == ((2, 12), (8, 2))
    assert of_llama.scale == 2.5


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_are_those_of_peft(family):
    base, theirs = weights(family), weights(family, "merged.safetensors")
    ours = adapter.merged(base, golden(family))
    assert list(ours) == list(base)
    for name, weight in ours.items():
        if name in theirs:
            assert (weight != base[name]).any()
            a, b = golden(family).modules[name.removesuffix(".kernel")]
            size = np.abs(base[name]) + 2.5 * np.abs(b) @ np.abs(a)
            # Of what is added up, a unit in the last place for the product,
            # and one for the sum.
            difference = np.abs(weight - theirs[name])
            assert (difference <= 2 * np.spacing(size)).all()
        else:
            assert weight is base[name]
    assert len(theirs) == len(golden(family).modules)


def test_rank_stabilised_scaling_is_in_alpha(peft_folder):
    read_ = read(peft_folder(use_rslora=True))
    assert read_.scale == pytest.approx(5 / 2**0.5, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_read_exactly(peft_folder, dtype):
    def halved(tensors):
        return {name: value.astype(dtype) for name, value in tensors.items()}

    read_, exact = read(peft_folder(tensors=halved)), golden("llama")
    for name, pair in read_.modules.items():
        for mine, theirs in zip(pair, exact.modules[name]):
            assert mine.dtype == np.float32
            np.testing.assert_array_equal(
                mine, theirs.astype(dtype).astype(np.float32)
            )


def test_the_base_may_stand_alone_or_in_a_larger_model(peft_folder):
    def within(tensors):
        return {
            name.replace("base_model.model.", "base_model.model.bert."): value
            for name, value in tensors.items()
        }

    folder = peft_folder("bert", tensors=within)
    assert_equal(read(folder, "bert"), golden("bert"))


def test_patterns_that_change_nothing_are_read(peft_folder):
    folder = peft_folder(
        rank_pattern={"q_proj": 2}, alpha_pattern={"v_proj": 5}
    )
    assert_equal(read(folder), golden("llama"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern with 4 beside 2"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern with 4 beside 5"),
        ({"bias": "all"}, 'trains biases of the base .bias="all".'),
        (
            {"modules_to_save": ["classifier"]},
            r'replaces layers of the base .modules_to_save=\["classifier"\]',
        ),
        ({"use_dora": True}, "is a DoRA adapter"),
        ({"init_lora_weights": "pissa"}, "a base with changed weights"),
        ({"peft_type": "IA3"}, "peft_type='IA3'; LORA alone"),
        ({"r": "two"}, "r='two', lora_alpha=5, lora_dropout=0.1, which must"),
        ({"lora_dropout": 1.5}, "lora_dropout=1.5, which must"),
    ],
)
def test_what_an_adapter_cannot_hold_is_refused(peft_folder, settings, words):
    with pytest.raises(errors.DataError, match=words):
        read(peft_folder(**settings))


def test_modules_that_the_base_has_not_are_listed(peft_folder):
    def renamed(tensors):
        return {
            name.replace("q_proj", "qkv_proj"): value
            for name, value in tensors.items()
        }

    with pytest.raises(
        errors.DataError, match=r"layers\.0\.self_attn\.qkv_proj"
    ):
        read(peft_folder(tensors=renamed))


def test_another_base_is_refused_by_its_shapes():
    wider = dataclasses.replace(ARCHITECTURES["llama"], width=16, head_width=8)
    with pytest.raises(
        errors.DataError,
        match=r"a \[2, 8\] A for blocks.0.attention.query, where rank 2 and "
        r"this base need \[2, 16\]",
    ):
        adapter_reader.read(str(GOLDEN / "llama"), wider, BASE)


def test_a_module_with_one_factor_is_refused(peft_folder):
    def halved(tensors):
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
        tensors.pop(name)
        return tensors

    with pytest.raises(errors.DataError, match="no B for blocks"):
        read(peft_folder(tensors=halved))


def test_factors_are_told_apart_by_name_when_shapes_are_the_same(written):
    square = np.arange(64, dtype=np.float32).reshape([8, 8])
    pair = (square, -square.T)
    folder = written(
        "llama", rank=8, modules={"blocks.1.attention.query": pair}
    )
    (back,) = read(folder).modules.values()
    np.testing.assert_array_equal(back[0], square)
    np.testing.assert_array_equal(back[1], -square.T)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_cut_or_missing_file_is_an_error_of_one_sentence(peft_folder, name):
    path = os.path.join(peft_folder(), name)
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(errors.DataError, match=f"{name} is damaged"):
        read(os.path.dirname(path))
    os.remove(path)
    with pytest.raises(errors.DataError, match=f"{name} cannot be read"):
        read(os.path.dirname(path))


def test_a_pickle_is_refused_and_says_what_to_do(peft_folder):
    folder = peft_folder()
    os.rename(
        os.path.join(folder, WEIGHTS), os.path.join(folder, "adapter_model.bin")
    )
    with pytest.raises(errors.DataError, match="safe_serialization=True"):
        read(folder)


# What we write.


@pytest.mark.parametrize("family", FAMILIES)
def test_we_write_what_peft_writes(written, family):
    folder = written(family)
    with safetensors.safe_open(f"{folder}/{WEIGHTS}", "np") as ours:
        assert ours.metadata()["format"] == "pt"
    ours, theirs = (
        load_file(f"{path}/{WEIGHTS}") for path in (folder, GOLDEN / family)
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.dtype == theirs[name].dtype
        np.testing.assert_array_equal(value, theirs[name])
    config, expected = (
        json.loads(pathlib.Path(path, CONFIG).read_text())
        for path in (folder, GOLDEN / family)
    )
    assert list(config) == list(expected)
    differing = {k for k in config if config[k] != expected[k]}
    # The golden B were drawn; the order of targets means nothing.
    assert differing <= {"init_lora_weights", "target_modules"}
    assert set(config["target_modules"]) == set(expected["target_modules"])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_comes_back(written, family):
    what = dataclasses.replace(golden(family), alpha=0.1, base_source="here")
    back = read(written(family, what), family)
    assert_equal(back, what)
    assert (back.base_sha256, back.base_source) == (BASE, "here")


def test_an_adapter_of_ours_is_refused_on_another_base(written):
    folder = written("llama", base_source="pypi:small 1.0")
    with pytest.raises(
        errors.DataError,
        match=r"made on another base, pypi:small 1\.0 with the SHA-256 ababab",
    ):
        read(folder, base=OTHER)


def test_a_model_of_no_family_has_our_names(tmp_path):
    own = architectures.character_model(20, 16)
    family = names.family(own)
    factors = (np.ones([2, 128], np.float32), np.ones([512, 2], np.float32))
    what = adapter.Adapter(
        2, 4.0, {"blocks.3.feed_forward.up": factors}, BASE, "characters"
    )
    folder = str(tmp_path / "own")
    adapter.write(folder, what, own, family)
    assert list(load_file(f"{folder}/{WEIGHTS}")) == [
        f"base_model.model.blocks.3.feed_forward.up.lora_{letter}.weight"
        for letter in "AB"
    ]
    assert_equal(adapter_reader.read(folder, own, BASE), what)


def targets(written, family, *modules):
    shapes = adapter.matrix_shapes(ARCHITECTURES[family])
    pairs = {
        name: (
            np.zeros([2, shapes[name][1]], np.float32),
            np.zeros([shapes[name][0], 2], np.float32),
        )
        for name in modules
    }
    folder = written(family, modules=pairs)
    config = json.loads(pathlib.Path(folder, CONFIG).read_text())
    return config["target_modules"]


def test_targets_hit_the_modules_and_no_others(written):
    def both(name):
        return [f"blocks.{block}.{name}" for block in (0, 1)]

    assert targets(written, "llama", *both("attention.query")) == ["q_proj"]
    assert targets(written, "llama", "blocks.1.attention.query") == [
        "1.self_attn.q_proj"
    ]
    # c_proj alone would be the feed-forward part's too.
    assert targets(written, "gpt2", *both("attention.output")) == [
        "attn.c_proj"
    ]
    assert targets(
        written, "gpt2", *both("attention.output"), *both("feed_forward.down")
    ) == ["c_proj"]
    # BERT's attention ends in output.dense too.
    assert targets(written, "bert", *both("feed_forward.down")) == [
        "0.output.dense",
        "1.output.dense",
    ]


# Merging.


def test_merged_halves_are_rounded_once():
    base = {"m.kernel": np.full([2, 2], 1.0, ml_dtypes.bfloat16)}
    a, b = np.full([1, 2], 0.5, np.float32), np.full([2, 1], 2**-7, np.float32)
    what = adapter.Adapter(1, 3.0, {"m": (a, b)}, BASE, "")
    weight = adapter.merged(base, what)["m.kernel"]
    assert weight.dtype == ml_dtypes.bfloat16
    # 1 + 1.5 * 2^-7 lies between two bfloat16, the upper of which is even.
    np.testing.assert_array_equal(weight.astype(np.float32), 1 + 2**-6)


def test_a_module_without_its_matrix_is_refused():
    with pytest.raises(errors.DataError, match="a module for blocks"):
        adapter.merged({"other": np.zeros(1)}, golden("llama"))


def test_the_same_adapter_is_the_same_file(written):
    # In the library's own order of metadata, one of six by chance, all eight
    # would be sorted with a probability below one in a million.
    for _ in range(8):
        with open(os.path.join(written("llama"), WEIGHTS), "rb") as file:
            content = file.read()
        header = json.loads(
            content[8 : 8 + int.from_bytes(content[:8], "little")]
        )
        assert list(header["__metadata__"]) == sorted(header["__metadata__"])
