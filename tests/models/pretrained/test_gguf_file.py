"""GGUF files: written by the library, read back; damaged and refused."""

import json

import numpy as np
import pytest
import tokenizers
from gguf import GGMLQuantizationType as Kind

from tests.testing import gguf_models
from tff_pipeline import errors
from tff_pipeline.models.pretrained import checkpoint, gguf_file
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import Architecture

ARCHITECTURE = Architecture(
    "decoder",
    vocabulary_size=len(gguf_models.TOKENS),
    width=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_width=8,
    hidden_width=64,
    max_length=48,
    activation="swiglu",
    norm="rms",
    norm_epsilon=1e-6,
    rotary_base=5_000.0,
)
# Ours -> theirs, of what is not in a block and of block 1.
NAMES = {
    "embeddings.tokens": "token_embd",
    "final_norm.scale": "output_norm",
    "head.kernel": "output",
    "blocks.1.attention.norm.scale": "blk.1.attn_norm",
    "blocks.1.attention.query.kernel": "blk.1.attn_q",
    "blocks.1.attention.key.kernel": "blk.1.attn_k",
    "blocks.1.attention.value.kernel": "blk.1.attn_v",
    "blocks.1.attention.output.kernel": "blk.1.attn_output",
    "blocks.1.feed_forward.norm.scale": "blk.1.ffn_norm",
    "blocks.1.feed_forward.gate.kernel": "blk.1.ffn_gate",
    "blocks.1.feed_forward.up.kernel": "blk.1.ffn_up",
    "blocks.1.feed_forward.down.kernel": "blk.1.ffn_down",
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "model.gguf")


def stored_values(path, tmp_path):
    stored = checkpoint.store(
        gguf_file.read(path), str(tmp_path / "base"), "float32", "x"
    )
    return {name: np.array(array) for name, array in stored.arrays().items()}


def rounding(array, kind):
    """The largest error of a matrix's numbers in a kind of tensor."""
    if kind == Kind.F32 or array.ndim == 1:
        return 0.0
    if kind == Kind.F16:
        return np.abs(array) * 2.0**-11 + 2.0**-25
    # A step is a 127th of the largest of 32 neighbours, and stored as F16.
    blocks = np.abs(array).reshape(-1, 32).max(axis=1, keepdims=True)
    step = np.repeat(blocks / 127, 32, axis=1).reshape(array.shape)
    return step / 2 + np.abs(array) * 2.0**-10


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.Q8_0])
@pytest.mark.parametrize("untied", [False, True])
def test_every_weight_is_the_files(path, tmp_path, kind, untied):
    given = gguf_models.tensors(untied=untied)
    gguf_models.write(path, given, kind)
    ours = stored_values(path, tmp_path)
    assert len(ours) == len(given) == 20 + untied
    for key, array in ours.items():
        name = NAMES[key.replace("blocks.0.", "blocks.1.")] + ".weight"
        if "blocks.0." in key:
            name = name.replace(".1.", ".0.")
        assert array.dtype == np.float32
        assert array.shape == given[name].shape
        wrong = np.abs(array - given[name])
        assert (wrong <= rounding(given[name], kind)).all(), key


def test_the_architecture_is_that_of_the_metadata(path):
    read = gguf_file.read(gguf_models.write(path))
    assert read.architecture == ARCHITECTURE
    assert read.architecture.num_parameters() == sum(
        array.size for array in gguf_models.tensors().values()
    )


def test_half_split_undoes_what_the_converter_does():
    matrix = np.arange(24 * 5).reshape(24, 5)
    for heads in (1, 2, 3, 6):
        stored = gguf_models.interleaved(matrix, heads)
        np.testing.assert_array_equal(
            checkpoint.half_split(stored, heads), matrix
        )


# Tokenizers.


def built(path, **changes):
    read = gguf_file.read(gguf_models.write(path, **changes))
    return tokenizers.Tokenizer.from_str(read.tokenizer.decode()), read


def by_the_library(digits):
    """The same tokenizer, made of the library's own parts."""
    vocabulary = {token: n for n, token in enumerate(gguf_models.TOKENS)}
    merges = [tuple(merge.split()) for merge in gguf_models.MERGES]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    parts = [tokenizers.pre_tokenizers.Digits(individual_digits=True)] * digits
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [*parts, byte_level]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(gguf_models.SPECIAL)
    tokenizer.add_tokens([tokenizers.AddedToken("<x>", normalized=False)])
    return tokenizer


TEXTS = (
    "hello world 1212",
    "<|begin|>hell<|end|> w<x>w",
    "äöü ½ 漢字 \U0001f600\t\r\n  we'll",
    "",
)


@pytest.mark.parametrize(
    ("pre", "digits"),
    [("smollm", True), ("gpt-2", False), ("default", False), (None, False)],
)
def test_the_tokenizer_is_the_librarys(path, pre, digits):
    tokenizer, _ = built(path, tokenizer__ggml__pre=pre)
    other = by_the_library(digits)
    assert json.loads(tokenizer.to_str()) == json.loads(other.to_str())
    for text in TEXTS:
        encoded = tokenizer.encode(text)
        assert encoded.ids == other.encode(text).ids
        assert tokenizer.decode(encoded.ids, False) == text


def test_digits_are_merged_unless_they_are_split(path, tmp_path):
    twelve = gguf_models.TOKENS.index("12")
    split, _ = built(path)
    merged, _ = built(str(tmp_path / "other"), tokenizer__ggml__pre="gpt-2")
    assert merged.encode("12").ids == [twelve]
    assert split.encode("12").tokens == ["1", "2"]


def test_special_tokens_and_the_chat_template(path):
    tokenizer, read = built(
        path,
        tokenizer__ggml__padding_token_id=2,
        tokenizer__chat_template="{{ messages }}",
    )
    assert read.settings == base.TokenizerSettings(None, 0, 2, "{{ messages }}")
    assert tokenizer.encode("h").ids == [2 + ord("h")]
    assert tokenizer.decode([0, 2 + ord("h"), len(gguf_models.TOKENS) - 1]) == (
        "h<x>"
    )


def test_a_beginning_is_put_where_the_file_says(path):
    tokenizer, read = built(path, tokenizer__ggml__add_bos_token=True)
    assert read.settings == base.TokenizerSettings(1, 0, None)
    assert tokenizer.encode("h").ids == [1, 2 + ord("h")]
    assert tokenizer.encode("h", add_special_tokens=False).ids == [2 + ord("h")]


# What cannot be read.


def without(name):
    arrays = gguf_models.tensors()
    del arrays[name]
    return arrays


def replaced(name, shape):
    return {**gguf_models.tensors(), name: np.zeros(shape, "f4")}


REFUSED = {
    "other architecture": (
        {"general__architecture": "gemma"},
        ['general.architecture="gemma"', '"llama"'],
    ),
    "experts": ({"llama__expert_count": 8}, ["expert_count=8", "mixture"]),
    "scaled positions": (
        {"llama__rope__scaling__type": "yarn"},
        ['llama.rope.scaling.type="yarn"'],
    ),
    "scaled frequencies": (
        {"arrays": replaced("rope_freqs.weight", [4])},
        ["rope_freqs.weight"],
    ),
    "half positions": (
        {"llama__rope__dimension_count": 4},
        ["dimension_count=4", "heads of 8"],
    ),
    "no size": (
        {"llama__embedding_length": None},
        ["has no llama.embedding_length"],
    ),
    "endless layers": (
        {"llama__block_count": 2**32 - 1},
        ["4294967295 layers", "20 weights"],
    ),
    "missing": (
        {"arrays": without("blk.1.ffn_up.weight")},
        ["misses blk.1.ffn_up.weight."],
    ),
    "no embedding": (
        {"arrays": without("token_embd.weight")},
        ["no tensor token_embd.weight"],
    ),
    "unexpected": (
        {"arrays": replaced("blk.1.attn_q.bias", [32])},
        ["unexpected blk.1.attn_q.bias."],
    ),
    "another shape": (
        {"arrays": replaced("blk.0.ffn_up.weight", [64, 64])},
        ["blk.0.ffn_up.weight (64, 64) for (64, 32)"],
    ),
    "sentencepiece": (
        {"tokenizer__ggml__model": "llama"},
        ["kind 'llama'", "byte-level BPE", "Hugging Face folder"],
    ),
    "no tokenizer": ({"tokenizer__ggml__model": None}, ["kind 'None'"]),
    "other splits": (
        {"tokenizer__ggml__pre": "llama-bpe"},
        ['tokenizer.ggml.pre="llama-bpe"', '"smollm"'],
    ),
    "no merges": (
        {"tokenizer__ggml__merges": None},
        ["tokenizer.ggml.merges"],
    ),
    "merges of no tokens": (
        {"tokenizer__ggml__merges": ["q q"]},
        ["no tokenizer that tokenizers"],
    ),
    "too few types": (
        {"tokenizer__ggml__token_type": [3, 3]},
        ["2 token types"],
    ),
    "a token twice": (
        {"tokenizer__ggml__tokens": ["a"] * len(gguf_models.TOKENS)},
        ["of which 1 differ"],
    ),
    "more tokens than vectors": (
        {"arrays": replaced("token_embd.weight", [96, 32])},
        [f"ids up to {len(gguf_models.TOKENS) - 1}", "for 96, ids"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_a_sentence(path, case):
    changes, words = REFUSED[case]
    gguf_models.write(path, **changes)
    with pytest.raises(errors.DataError) as caught:
        gguf_file.read(path)
    for word in (path, *words):
        assert word in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("size", [0, 3, 4, 20, 100, 2_000, -1, -70, 1, 32])
def test_a_file_that_is_cut_or_too_long_is_refused(path, size):
    gguf_models.write(path)
    with open(path, "rb") as file:
        content = file.read()
    # At the end the last tensor's numbers stand, and nothing fills them up.
    content = content + b"\0" * size if size in (1, 32) else content[:size]
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(errors.DataError, match="restore it") as caught:
        gguf_file.read(path)
    assert path in str(caught.value)


def test_one_changed_byte_in_the_head_is_read_or_refused(path):
    """The library's parser may meet anything; none of it is a traceback."""
    gguf_models.write(path)
    with open(path, "rb") as file:
        content = file.read()
    draw = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        changed = bytearray(content)
        changed[draw.integers(4, 2_000)] = draw.integers(256)
        with open(path, "wb") as file:
            file.write(changed)
        try:
            gguf_file.read(path)
        except errors.DataError as error:
            assert path in str(error)
            refused += 1
    assert refused


def test_a_missing_file_is_a_sentence(path):
    for read in (gguf_file.read, gguf_file.is_gguf):
        with pytest.raises(errors.DataError, match="No such file"):
            read(path)


def test_a_kind_that_cannot_be_computed_is_named(path, tmp_path):
    """F64 is read by the library, which does not compute with it."""
    gguf_models.write(path)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    name = b"output_norm.weight"
    # Behind a name stand the count of sizes, the sizes, and the kind.
    place = content.index(name) + len(name) + 4 + 8
    assert content[place : place + 4] == bytes([Kind.F32, 0, 0, 0])
    content[place] = Kind.F64
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(
        errors.DataError, match=r"output_norm\.weight as F64, which"
    ):
        stored_values(path, tmp_path)
