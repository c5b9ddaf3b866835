"""Low-rank adaptation: what it changes, what travels, what is exact."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.client_work import keyed_generator
from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer import (
    adapter,
    language_model,
    scoring,
    sizes,
)
from tff_pipeline.models.transformer import base as bases
from tff_pipeline.models.transformer.architecture import (
    Architecture,
    gpt2_small,
    smollm2_135m,
)
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.models.transformer.lora import Lora, adapted
from tff_pipeline.models.weight_groups import WithoutFrozen

CHECKPOINTS = pathlib.Path(__file__).parents[1] / "pretrained" / "checkpoints"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("bases"))
    return source.open_base(str(CHECKPOINTS / "llama"), "float32", cache)


def model_of(base, lora, **options):
    return language_model.LanguageModel(
        base.architecture, Training("lora", lora, **options), base
    )


def drawn_factors(model, seed=0):
    """Gives all factors that train other values than those they begin with."""
    draw = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(draw.normal(0, 0.3, variable.shape))


def logits(model, ids):
    hidden = model.transformer(ids)
    rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
    return scoring.logits_of(rows, model.transformer.table).numpy()


IDS = np.random.default_rng(5).integers(0, 48, [2, 9]).astype(np.int32)


def test_a_new_adapter_changes_nothing(base):
    plain = model_of(base, Lora(rank=2))
    other = model_of(base, Lora(rank=3, seed=9, targets=".*"))
    np.testing.assert_array_equal(logits(plain, IDS), logits(other, IDS))


@pytest.mark.parametrize("targets", [".*", "query|value", "blocks.1.*"])
def test_merged_equals_unmerged(base, tmp_path, targets):
    model = model_of(base, Lora(rank=2, alpha=6, targets=targets))
    drawn_factors(model)
    trained = language_model.adapter_of(model, base)
    merged = adapter.merged(base.arrays(), trained)
    assert set(merged) == set(base.arrays())
    for name, array in merged.items():
        before = np.asarray(base.arrays()[name])
        module = name.removesuffix(".kernel")
        if module in trained.modules:
            a, b = trained.modules[module]
            before = before + 3 * b @ a
            assert np.abs(3 * b @ a).max() > 0.01
        np.testing.assert_allclose(array, before, rtol=1e-6, atol=1e-6)
    whole = bases.store(
        str(tmp_path / "merged"), merged, base.architecture, source="merged"
    )
    plain = model_of(whole, Lora())
    ours, theirs = logits(model, IDS), logits(plain, IDS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
    # And they are not those of the base.
    assert np.abs(ours - logits(model_of(base, Lora()), IDS)).max() > 0.1


def test_the_first_step_is_the_whole_matrix_s_projected(base):
    # dB = scale * dW A^T, and dA = 0 as B is 0 (Hu et al. 2021, section 4.1).
    lora = Lora(rank=2, alpha=6, targets="query|up")
    model = model_of(base, lora)
    whole = language_model.LanguageModel(
        base.architecture, Training("all"), base
    )

    def slopes(model):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(IDS, training=True)[..., 0])
        found = tape.gradient(loss, model.trainable_variables)
        names = [v.name for v in model.trainable_variables]
        return {
            name.partition("/")[2].removesuffix(":0"): np.asarray(
                tf.convert_to_tensor(slope)
            )
            for name, slope in zip(names, found)
        }

    ours, theirs = slopes(model), slopes(whole)
    for part in ("attention.query", "feed_forward.up"):
        full = theirs[f"blocks.{part}.kernel"]
        for block in range(2):
            a, _ = model.transformer.factors(f"blocks.{block}.{part}")
            np.testing.assert_allclose(
                ours[f"blocks.{part}.lora_b"][block],
                3 * full[block] @ a.T,
                rtol=1e-3,
                atol=1e-6,
            )
            assert np.abs(full[block]).max() > 1e-4
        assert not ours[f"blocks.{part}.lora_a"].any()


def test_a_of_ffa_is_drawn_from_the_seed_and_is_no_weight(base):
    one, same, other = (
        model_of(base, Lora(rank=2, train="b", seed=seed)) for seed in (1, 1, 2)
    )
    assert {v.name.rpartition(".")[2] for v in one.trainable_variables} == {
        "lora_b:0"
    }
    name = one.transformer.adapted_names[0]
    a, b = one.transformer.factors(name)
    assert not b.any()
    assert np.abs(a).max() <= base.architecture.width**-0.5
    np.testing.assert_array_equal(a, same.transformer.factors(name)[0])
    assert (a != other.transformer.factors(name)[0]).all()
    # Each matrix has its own.
    names = one.transformer.adapted_names
    assert (a != one.transformer.factors(names[1])[0]).all()


def test_dropout_of_the_adapter_is_for_training_alone(base):
    model = model_of(base, Lora(rank=2, dropout=0.5))
    drawn_factors(model)
    plain = model_of(base, Lora(rank=2))
    drawn_factors(plain)
    np.testing.assert_array_equal(logits(model, IDS), logits(plain, IDS))


def test_dropout_is_drawn_from_the_client_s_key_and_step(base):
    model = model_of(base, Lora(rank=2, dropout=0.5))
    drawn_factors(model)
    generators = keyed_generator.replace(WithoutFrozen(model, None))
    assert len(generators) == 2

    def scores(key, step, training=True):
        for generator in generators:
            generator.begin(tf.constant(key, tf.int64), tf.constant(step))
        return model(IDS, training=training).numpy()

    one = scores(5, 0)
    np.testing.assert_array_equal(one, scores(5, 0))
    for other in (scores(5, 1), scores(6, 0), scores(5, 0, training=False)):
        assert np.abs(one - other)[..., 0].max() > 1e-3


@pytest.mark.parametrize(
    ("architecture", "targets", "count"),
    [
        (smollm2_135m(), "query|value", 60),
        (smollm2_135m(), "blocks.0.attention.query|down", 31),
        (gpt2_small(), "query_key_value", 12),
        (gpt2_small(), "query|value|query_key_value", 12),
    ],
)
def test_a_pattern_hits_whole_names(architecture, targets, count):
    assert len(adapted(architecture, targets)) == count


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("q_proj", "hits no matrix of the model; its blocks have query, key"),
        ("quer", "hits no matrix"),
        ("(", "is no regular expression"),
    ],
)
def test_a_pattern_that_hits_nothing_is_an_error(targets, words):
    with pytest.raises(errors.ConfigError, match=words):
        adapted(smollm2_135m(), targets)


def test_what_trains_is_said_with_its_share():
    words = sizes.in_words(smollm2_135m(), Training("lora", Lora()))
    assert words.startswith("Trains 460,800 of 134,975,808 weights (0.34%)")
    assert "A and B of attention.query, attention.value in 30 of 30" in words
    only_b = Training("lora", Lora(train="b"))
    trained, _ = sizes.count(smollm2_135m(), only_b)
    assert trained == 30 * 8 * (576 + 192)


@pytest.mark.parametrize("trainable", ["head", "bitfit"])
def test_a_choice_that_trains_nothing_is_an_error(trainable):
    with pytest.raises(errors.ConfigError, match="trains nothing"):
        language_model.check(smollm2_135m(), Training(trainable))


def test_an_adapter_begins_where_it_ended(base):
    model = model_of(base, Lora(rank=2))
    drawn_factors(model)
    trained = language_model.adapter_of(model, base)
    again = model_of(base, Lora(rank=2, start=trained.modules))
    np.testing.assert_array_equal(logits(model, IDS), logits(again, IDS))
    with pytest.raises(errors.DataError, match="--lora_rank=4"):
        model_of(base, Lora(rank=4, start=trained.modules))
    with pytest.raises(errors.DataError, match="which the adapter has not"):
        model_of(base, Lora(rank=2, targets=".*", start=trained.modules))


def test_weights_of_architectures_are_counted():
    from_nothing = Architecture(
        "decoder",
        vocabulary_size=11,
        width=4,
        layers=2,
        heads=2,
        kv_heads=1,
        head_width=2,
        hidden_width=6,
        max_length=8,
        activation="swiglu",
        norm="rms",
        tied_head=False,
    )
    a_block = 4 + 16 + 8 + 8 + 16 + 4 + 3 * 24
    assert from_nothing.num_parameters() == 2 * 44 + 4 + 2 * a_block
