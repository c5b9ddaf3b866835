"""Hugging Face folders: every weight, every setting, every damage."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tff_pipeline import errors
from tff_pipeline.models.pretrained import checkpoint, families, huggingface
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import Architecture

CHECKPOINTS = pathlib.Path(__file__).parent / "checkpoints"
NAMES = (
    *("llama", "llama_untied", "mistral_bfloat16", "gpt2", "gpt2_float16"),
    *("bert", "bert_masked"),
)
LLAMA = Architecture(
    "decoder",
    vocabulary_size=48,
    width=16,
    layers=2,
    heads=4,
    kv_heads=2,
    head_width=4,
    hidden_width=40,
    max_length=64,
    activation="swiglu",
    norm="rms",
    norm_epsilon=1e-5,
    rotary_base=5_000.0,
)
GPT2 = Architecture(
    "decoder",
    vocabulary_size=48,
    width=16,
    layers=2,
    heads=4,
    kv_heads=4,
    head_width=4,
    hidden_width=24,
    max_length=32,
    activation="gelu_tanh",
    norm="layer",
    positions="learned",
    bias=True,
    fused_attention=True,
)
BERT = dataclasses.replace(
    GPT2,
    kind="encoder",
    activation="gelu",
    norm_epsilon=1e-12,
    fused_attention=False,
    token_types=2,
    pooler=True,
)
ARCHITECTURES = {
    "llama": LLAMA,
    "llama_untied": dataclasses.replace(
        LLAMA,
        head_width=6,
        norm_epsilon=1e-6,
        rotary_base=1e4,
        bias=True,
        tied_head=False,
    ),
    "mistral_bfloat16": dataclasses.replace(
        LLAMA,
        head_width=8,
        # Of the sliding window, in which all is seen.
        max_length=32,
        norm_epsilon=1e-6,
        rotary_base=1e4,
        tied_head=False,
    ),
    "gpt2": GPT2,
    "gpt2_float16": dataclasses.replace(
        GPT2, hidden_width=64, activation="gelu", norm_epsilon=1e-6
    ),
    "bert": BERT,
    "bert_masked": dataclasses.replace(BERT, norm_epsilon=1e-6, pooler=False),
}
# Ours -> theirs, of what is not in a block and of block 1.
LLAMA_NAMES = {
    "embeddings.tokens": "model.embed_tokens.weight",
    "final_norm.scale": "model.norm.weight",
    "blocks.1.attention.norm.scale": "model.layers.1.input_layernorm.weight",
    "blocks.1.attention.query.kernel": "model.layers.1.self_attn.q_proj.weight",
    "blocks.1.attention.key.kernel": "model.layers.1.self_attn.k_proj.weight",
    "blocks.1.attention.value.kernel": "model.layers.1.self_attn.v_proj.weight",
    "blocks.1.attention.output.kernel": (
        "model.layers.1.self_attn.o_proj.weight"
    ),
    "blocks.1.feed_forward.norm.scale": (
        "model.layers.1.post_attention_layernorm.weight"
    ),
    "blocks.1.feed_forward.gate.kernel": "model.layers.1.mlp.gate_proj.weight",
    "blocks.1.feed_forward.up.kernel": "model.layers.1.mlp.up_proj.weight",
    "blocks.1.feed_forward.down.kernel": "model.layers.1.mlp.down_proj.weight",
}
UNTIED_NAMES = {
    **LLAMA_NAMES,
    "head.kernel": "lm_head.weight",
    **{
        name.replace("kernel", "bias"): theirs.replace("weight", "bias")
        for name, theirs in LLAMA_NAMES.items()
        if name.endswith("kernel")
    },
}


def with_bias(names):
    """Adds the biases of matrices and norms."""
    return {
        **names,
        **{
            f"{name.rpartition('.')[0]}.bias": theirs[: -len("weight")] + "bias"
            for name, theirs in names.items()
            if name.endswith(("kernel", "scale"))
        },
    }


GPT2_NAMES = with_bias(
    {
        "embeddings.tokens": "transformer.wte.weight",
        "embeddings.positions": "transformer.wpe.weight",
        "final_norm.scale": "transformer.ln_f.weight",
        "blocks.1.attention.norm.scale": "transformer.h.1.ln_1.weight",
        "blocks.1.attention.query_key_value.kernel": (
            "transformer.h.1.attn.c_attn.weight"
        ),
        "blocks.1.attention.output.kernel": (
            "transformer.h.1.attn.c_proj.weight"
        ),
        "blocks.1.feed_forward.norm.scale": "transformer.h.1.ln_2.weight",
        "blocks.1.feed_forward.up.kernel": "transformer.h.1.mlp.c_fc.weight",
        "blocks.1.feed_forward.down.kernel": (
            "transformer.h.1.mlp.c_proj.weight"
        ),
    }
)
BERT_LAYER = "encoder.layer.1"
BERT_NAMES = with_bias(
    {
        "embeddings.tokens": "embeddings.word_embeddings.weight",
        "embeddings.positions": "embeddings.position_embeddings.weight",
        "embeddings.types": "embeddings.token_type_embeddings.weight",
        "embeddings.norm.scale": "embeddings.LayerNorm.weight",
        "blocks.1.attention.query.kernel": (
            f"{BERT_LAYER}.attention.self.query.weight"
        ),
        "blocks.1.attention.key.kernel": (
            f"{BERT_LAYER}.attention.self.key.weight"
        ),
        "blocks.1.attention.value.kernel": (
            f"{BERT_LAYER}.attention.self.value.weight"
        ),
        "blocks.1.attention.output.kernel": (
            f"{BERT_LAYER}.attention.output.dense.weight"
        ),
        "blocks.1.attention.norm.scale": (
            f"{BERT_LAYER}.attention.output.LayerNorm.weight"
        ),
        "blocks.1.feed_forward.up.kernel": (
            f"{BERT_LAYER}.intermediate.dense.weight"
        ),
        "blocks.1.feed_forward.down.kernel": (
            f"{BERT_LAYER}.output.dense.weight"
        ),
        "blocks.1.feed_forward.norm.scale": (
            f"{BERT_LAYER}.output.LayerNorm.weight"
        ),
        "pooler.kernel": "pooler.dense.weight",
    }
)
THEIR_NAMES = {
    "llama": LLAMA_NAMES,
    "llama_untied": UNTIED_NAMES,
    "mistral_bfloat16": {**LLAMA_NAMES, "head.kernel": "lm_head.weight"},
    "gpt2": GPT2_NAMES,
    "gpt2_float16": {
        name: theirs[len("transformer.") :]
        for name, theirs in GPT2_NAMES.items()
    },
    "bert": BERT_NAMES,
    "bert_masked": {
        name: f"bert.{theirs}"
        for name, theirs in BERT_NAMES.items()
        if not name.startswith("pooler")
    },
}


def theirs(folder):
    """All weights of a folder, as the library safetensors has them."""
    arrays = {}
    for path in pathlib.Path(folder).glob("*.safetensors"):
        with safe_open(str(path), framework="np") as file:
            arrays |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return arrays


def values(stored):
    """Name -> numbers of a base, without what their names begin with."""
    return {name: np.array(array) for name, array in stored.arrays().items()}


def converted(folder, tmp_path, dtype="float32"):
    read = huggingface.read(str(folder))
    return checkpoint.store(read, str(tmp_path / f"base_{dtype}"), dtype, "x")


@pytest.fixture
def copy(tmp_path):
    """Copies a checkpoint to a folder that may be changed."""

    def copied(name):
        return pathlib.Path(
            shutil.copytree(CHECKPOINTS / name, tmp_path / name)
        )

    return copied


def edit(folder, name="config.json", **changes):
    path = folder / name
    values = json.loads(path.read_text()) if path.exists() else {}
    values.update(changes)
    path.write_text(json.dumps(values))


def edit_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def add_tokenizer(folder, tokens=40, **config):
    """A tokenizer of words w0, w1, ..., of which the first are special."""
    model = tokenizers.models.WordLevel(
        {f"w{number}": number for number in range(tokens)}, unk_token="w0"
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["w0", "w1", "w2", "w3"])
    tokenizer.save(str(folder / "tokenizer.json"))
    edit(folder, "tokenizer_config.json", **config)
    return tokenizer


@pytest.mark.parametrize("name", NAMES)
def test_the_architecture_is_that_of_the_config(name):
    read = huggingface.read(str(CHECKPOINTS / name))
    assert read.architecture == ARCHITECTURES[name]
    assert read.tokenizer is None
    assert read.settings == base.TokenizerSettings()


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_the_checkpoints(name, tmp_path):
    ours = values(converted(CHECKPOINTS / name, tmp_path))
    given = theirs(CHECKPOINTS / name)
    left = {each for each in given if each.startswith("cls.")}
    seen = set()
    for key, array in ours.items():
        # Block 0 as block 1.
        other = THEIR_NAMES[name][key.replace("blocks.0.", "blocks.1.")]
        if "blocks.0." in key:
            other = other.replace(".1.", ".0.", 1)
        seen.add(other)
        expected = given[other].astype(np.float32)
        # Of GPT-2's blocks matrices are [in, out].
        if "gpt2" in name and key.startswith("blocks") and expected.ndim == 2:
            expected = expected.T
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected, key)
    assert seen | left == set(given)
    assert len(ours) == len(seen)


@pytest.mark.parametrize("name", ["llama", "gpt2_float16", "mistral_bfloat16"])
def test_bfloat16_is_the_nearest(name, tmp_path):
    exact = values(converted(CHECKPOINTS / name, tmp_path))
    brief = values(converted(CHECKPOINTS / name, tmp_path, "bfloat16"))
    for key, array in brief.items():
        assert array.dtype == tf.bfloat16.as_numpy_dtype
        rounded = tf.cast(exact[key], tf.bfloat16).numpy()
        np.testing.assert_array_equal(
            array.view(np.uint16), rounded.view(np.uint16)
        )
        if name == "mistral_bfloat16":
            np.testing.assert_array_equal(array.astype("f4"), exact[key])


def test_bfloat16_of_a_file_by_its_bits():
    """Half a float32 each: 16 bits, above 16 zeros."""
    folder = CHECKPOINTS / "mistral_bfloat16"
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + length])["model.norm.weight"]
    assert entry["dtype"] == "BF16"
    begin, end = (8 + length + each for each in entry["data_offsets"])
    bits = np.frombuffer(content[begin:end], "<u2").astype(np.uint32) << 16
    read = huggingface.read(str(folder)).read("model.norm.weight")
    np.testing.assert_array_equal(read, bits.view(np.float32))


def test_weights_are_read_one_by_one(tmp_path):
    """No shape is asked of a weight: each is read once."""
    read = huggingface.read(str(CHECKPOINTS / "llama"))
    asked = []
    watched = dataclasses.replace(
        read, read=lambda name: asked.append(name) or read.read(name)
    )
    checkpoint.store(watched, str(tmp_path / "base"), "float32", "x")
    names = [stored.name for stored in read.stored.values()]
    assert sorted(asked) == sorted(names)


def test_norms_of_tensorflow_are_gamma_and_beta(copy, tmp_path):
    folder = copy("bert_masked")

    def rename(tensors):
        for name in [n for n in tensors if "LayerNorm" in n]:
            other = name.replace("weight", "gamma").replace("bias", "beta")
            tensors[other] = tensors.pop(name)

    edit_tensors(folder, rename)
    ours = values(converted(folder, tmp_path))
    (tmp_path / "plain").mkdir()
    plain = values(converted(CHECKPOINTS / "bert_masked", tmp_path / "plain"))
    for key, array in plain.items():
        np.testing.assert_array_equal(ours[key], array)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("llama", ["lm_head.weight", "score.weight"]),
        ("llama", ["model.layers.0.self_attn.rotary_emb.inv_freq"]),
        ("llama", ["model.rotary_emb.inv_freq"]),
        ("gpt2", ["transformer.h.1.attn.bias", "lm_head.weight"]),
        ("gpt2_float16", ["h.0.attn.masked_bias", "h.1.attn.bias"]),
        ("bert", ["embeddings.position_ids", "classifier.bias"]),
        ("bert_masked", ["bert.embeddings.position_ids", "cls.seq.weight"]),
    ],
)
def test_buffers_and_heads_of_tasks_are_left_out(copy, name, others):
    folder = copy(name)
    before = huggingface.read(str(folder))
    edit_tensors(
        folder, lambda t: t.update({n: np.zeros([2], "i8") for n in others})
    )
    after = huggingface.read(str(folder))
    assert sorted(after.left_out) == sorted([*before.left_out, *others])
    assert after.stored == before.stored
    assert after.shapes == before.shapes


def test_positions_of_transformers_5(copy):
    folder = copy("llama")
    config = json.loads((folder / "config.json").read_text())
    theta = config.pop("rope_theta")
    del config["rope_scaling"]
    config["rope_parameters"] = {"rope_theta": theta, "rope_type": "default"}
    (folder / "config.json").write_text(json.dumps(config))
    assert huggingface.read(str(folder)).architecture == LLAMA


# Tokenizers.


def test_special_tokens_by_content_or_object(copy):
    folder = copy("llama")
    tokenizer = add_tokenizer(
        folder,
        bos_token="w1",
        eos_token={"content": "w2", "lstrip": False},
        add_bos_token=True,
        chat_template="{{ messages }}",
    )
    edit(folder, "special_tokens_map.json", pad_token="w3", bos_token="w0")
    read = huggingface.read(str(folder))
    assert read.settings == base.TokenizerSettings(1, 2, 3, "{{ messages }}")
    assert read.tokenizer == (folder / "tokenizer.json").read_bytes()
    assert json.loads(read.tokenizer) == json.loads(tokenizer.to_str())


@pytest.mark.parametrize("puts", [True, False])
def test_a_text_begins_as_the_tokenizer_begins_it(copy, puts):
    folder = copy("bert")
    tokenizer = add_tokenizer(folder, cls_token="w1", sep_token="w2")
    if puts:
        tokenizer.post_processor = tokenizers.processors.BertProcessing(
            ("w2", 2), ("w1", 1)
        )
        tokenizer.save(str(folder / "tokenizer.json"))
    settings = huggingface.read(str(folder)).settings
    assert settings == base.TokenizerSettings(1 if puts else None, 2, None)


def test_padding_and_truncation_to_one_length_are_left_out(copy):
    folder = copy("bert")
    tokenizer = add_tokenizer(folder)
    plain = json.loads(tokenizer.to_str())
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert json.loads(huggingface.read(str(folder)).tokenizer) == plain


@pytest.mark.parametrize(
    "template",
    [
        [
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": "yes"},
        ],
        "yes",
        None,
    ],
)
def test_chat_templates_in_three_places(copy, template):
    folder = copy("llama")
    add_tokenizer(folder, chat_template=template)
    if template is None:
        (folder / "chat_template.jinja").write_text("yes")
    assert huggingface.read(str(folder)).settings.chat_template == "yes"


def test_a_tokenizer_may_have_as_many_tokens_as_the_embedding(copy, tmp_path):
    folder = copy("llama")
    add_tokenizer(folder, 48)
    stored = converted(folder, tmp_path)
    with open(stored.tokenizer, "rb") as file:
        assert file.read() == (folder / "tokenizer.json").read_bytes()
    add_tokenizer(folder, 49)
    with pytest.raises(
        errors.DataError, match=r"tokenizer\.json .* up to 48, .* for 48, ids"
    ):
        huggingface.read(str(folder))


# What cannot be read.


def remove(name):
    return lambda folder: (folder / name).unlink()


def setting(**changes):
    return lambda folder: edit(folder, **changes)


def content(name, data):
    return lambda folder: (folder / name).write_bytes(data)


def cut(name, count):
    def change(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(
            data[:count] if count < 0 else data + b"\0" * count
        )

    return change


def tensors(change):
    return lambda folder: edit_tensors(folder, change)


WEIGHTS = "model.safetensors"
BAD = {
    "no config": ("llama", remove("config.json"), ["config.json", "No such"]),
    "config is a list": ("llama", content("config.json", b"[]"), ["object"]),
    "config is cut": ("llama", cut("config.json", -9), ["config.json"]),
    "config is deep": (
        "llama",
        content("config.json", b"[" * 100_000),
        ["config.json", "recursion"],
    ),
    "other model": (
        "llama",
        setting(model_type="qwen2"),
        ["config.json has model_type='qwen2'", "llama, mistral, gpt2, bert"],
    ),
    "no model_type": ("gpt2", setting(model_type=None), ["model_type='None'"]),
    "scaled positions": (
        "llama",
        setting(rope_scaling={"rope_type": "llama3", "factor": 8.0}),
        ["rope_scaling of type 'llama3'", "not scaled"],
    ),
    "scaled positions of old": (
        "llama",
        setting(rope_scaling={"type": "linear", "factor": 2.0}),
        ["rope_scaling of type 'linear'"],
    ),
    "half positions": (
        "llama",
        setting(partial_rotary_factor=0.5),
        ["partial_rotary_factor"],
    ),
    "some biases": ("llama", setting(attention_bias=True), ["mlp_bias"]),
    "activation": ("llama", setting(hidden_act="relu"), ['"silu"', '"relu"']),
    "activation of GPT-2": (
        "gpt2",
        setting(activation_function="relu"),
        ['activation_function="relu"', '"gelu_new"'],
    ),
    "relative positions": (
        "bert",
        setting(position_embedding_type="relative_key"),
        ['position_embedding_type="relative_key"', '"absolute"'],
    ),
    "unscaled attention": (
        "gpt2",
        setting(scale_attn_weights=False),
        ["scale_attn_weights=false"],
    ),
    "a decoder of BERT": ("bert", setting(is_decoder=True), ["is_decoder"]),
    "quantized": (
        "llama",
        setting(quantization_config={"bits": 4}),
        ["quantization_config", "quantized"],
    ),
    "no size": ("llama", setting(hidden_size=None), ["has no hidden_size"]),
    "a size of text": ("llama", setting(hidden_size="16"), ['="16"', "whole"]),
    "a size of 0": ("gpt2", setting(n_head=0), ["n_head=0", "at least 1"]),
    "heads do not fit": ("bert", setting(num_attention_heads=3), ["divide"]),
    "endless layers": (
        "llama",
        setting(num_hidden_layers=10**12),
        ["1000000000000 layers", "20 weights"],
    ),
    "an epsilon of text": (
        "bert",
        setting(layer_norm_eps="1e-12"),
        ["layer_norm_eps", "positive number"],
    ),
    "no weights": (
        "llama",
        remove(WEIGHTS),
        ["neither model.safetensors", "safe_serialization"],
    ),
    "weights are cut": ("llama", cut(WEIGHTS, -1), [WEIGHTS, "restore"]),
    "weights are longer": ("llama", cut(WEIGHTS, 1), [WEIGHTS, "restore"]),
    "weights are empty": ("llama", content(WEIGHTS, b""), [WEIGHTS]),
    "weights are text": ("llama", content(WEIGHTS, b"a" * 99), [WEIGHTS]),
    "a weight is missing": (
        "llama",
        tensors(lambda t: t.pop("model.layers.1.mlp.up_proj.weight")),
        ["misses model.layers.1.mlp.up_proj.weight."],
    ),
    "a weight too many": (
        "gpt2",
        tensors(lambda t: t.update(more=np.zeros([2], "f4"))),
        ["has unexpected more."],
    ),
    "a weight of another shape": (
        "gpt2",
        tensors(
            lambda t: t.update(
                {"transformer.h.0.mlp.c_fc.weight": np.zeros([24, 16], "f4")}
            )
        ),
        ["transformer.h.0.mlp.c_fc.weight (24, 16) for (16, 24)"],
    ),
    "other sizes than the weights": (
        "bert",
        setting(vocab_size=50),
        ["embeddings.word_embeddings.weight (48, 16) for (50, 16)"],
    ),
    "no head": (
        "llama",
        setting(tie_word_embeddings=False),
        ["misses lm_head.weight"],
    ),
    "the index is no JSON": (
        "llama_untied",
        content(f"{WEIGHTS}.index.json", b"{"),
        [f"{WEIGHTS}.index.json"],
    ),
    "the index leads elsewhere": (
        "llama_untied",
        lambda folder: edit(
            folder, f"{WEIGHTS}.index.json", weight_map={"a": "../b"}
        ),
        ["files elsewhere"],
    ),
    "a shard is missing": (
        "llama_untied",
        remove("model-00002-of-00002.safetensors"),
        ["model-00002-of-00002.safetensors", "No such file"],
    ),
    "a shard twice": (
        "llama_untied",
        lambda folder: shutil.copy(
            folder / "model-00001-of-00002.safetensors",
            folder / "model-00002-of-00002.safetensors",
        ),
        ["both hold"],
    ),
    "tokenizer is no JSON": (
        "llama",
        content("tokenizer.json", b"\xff"),
        ["tokenizer.json"],
    ),
    "tokenizer is none": (
        "llama",
        content("tokenizer.json", b'{"version": "1.0"}'),
        ["tokenizer.json holds no tokenizer"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_a_sentence(copy, case):
    name, change, words = BAD[case]
    folder = copy(name)
    change(folder)
    with pytest.raises(errors.DataError) as caught:
        huggingface.read(str(folder))
    for word in (str(folder), *words):
        assert word in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_quantized_weight_is_refused_when_it_is_read(copy, tmp_path):
    folder = copy("llama")
    edit_tensors(
        folder,
        lambda t: t.update({"model.norm.weight": np.zeros([16], np.int8)}),
    )
    with pytest.raises(errors.DataError, match=r"model\.norm\.weight as I8"):
        converted(folder, tmp_path)
    assert not (tmp_path / "base_float32").exists()


def test_another_dtype_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="'float16', which must be"):
        converted(CHECKPOINTS / "llama", tmp_path, "float16")


def test_every_family_is_tried():
    tried = {
        json.loads((CHECKPOINTS / name / "config.json").read_text())[
            "model_type"
        ]
        for name in NAMES
    }
    assert tried == set(families.FAMILIES)
    assert {path.name for path in CHECKPOINTS.iterdir() if path.is_dir()} == {
        *NAMES
    }
