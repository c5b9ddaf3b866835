"""The tagger: its files, its tags, its CRF, its scores, and what it learns."""

import collections
import itertools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.data import data_folder
from tests.testing.entity_tags import TAGS, tag_numbers
from tests.testing.scripts import ROOT, run_script
from tff_pipeline import errors, experiment
from tff_pipeline.client_work import keyed_generator
from tff_pipeline.commands import saved_runs
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import conll, word_vectors
from tff_pipeline.datasets.tags import Tags
from tff_pipeline.evaluation import central
from tff_pipeline.models import crf, tagger
from tff_pipeline.objectives import tagging
from tff_pipeline.objectives.sequence import TokenAccuracy, TokenCrossEntropy
from tff_pipeline.tasks import ner

# As in CoNLL-2003: four columns, IOB1, documents. Made up.
TRAIN = """-DOCSTART- -X- -X- O

Anna NNP B-NP I-PER
Berg NNP I-NP I-PER
left VBD B-VP O
Oslo NNP B-NP I-LOC
. . O O

-DOCSTART- -X- -X- O

Oslo NNP B-NP I-LOC
Paris NNP B-NP B-LOC
Anna NNP B-NP I-PER

"""
TEST = """-DOCSTART- -X- O O

Paris NNP B-NP I-LOC
"""


@pytest.fixture(scope="module")
def btc_dir():
    return data_folder("btc")


@pytest.fixture(scope="module")
def btc(btc_dir):
    return conll.load(str(btc_dir))


@pytest.fixture
def write(tmp_path):
    """Writes files by name; returns the folder's path."""

    def to_folder(**files):
        for name, content in files.items():
            if isinstance(content, str):
                content = content.encode()
            (tmp_path / name.replace("_", ".")).write_bytes(content)
        return str(tmp_path)

    return to_folder


def task(data_dir, seed=0, **options):
    options = DataConfig(task="ner_tagger", data_dir=str(data_dir), **options)
    return ner.ner_tagger(options, seed)


# Files.


def test_broad_twitter_corpus_has_its_published_counts(btc):
    tokens, tweets = {}, {}
    for part in (btc.train, btc.test):
        for owner, sentence in zip(part.owners, part.tokens):
            tokens[owner] = tokens.get(owner, 0) + len(sentence)
            tweets[owner] = tweets.get(owner, 0) + 1
    assert tokens == dict(a=16612, b=30825, e=3981, f=35427, g=34062, h=29480)
    assert tweets == dict(a=1000, b=2000, e=200, f=2000, g=2138, h=2001)
    assert (len(btc.train), len(btc.test)) == (7472, 1867)
    assert "tags BIO; no lines -DOCSTART-" in btc.notes


def test_broad_twitter_corpus_keeps_the_place_of_every_tag(btc):
    everything = (btc.train.tags, btc.test.tags)
    tags = [tag for part in everything for tags in part for tag in tags]
    counts = {name: tags.count(name) for name in set(tags)}
    assert counts == {
        "O": 131814,
        "B-PER": 7928,
        "I-PER": 1554,
        "B-ORG": 4135,
        "I-ORG": 1176,
        "B-LOC": 2822,
        "I-LOC": 958,
    }


def test_files_like_conll_2003_are_read_as_documents_in_bio(write):
    corpus = conll.load(write(eng_train=TRAIN, eng_testb=TEST, eng_testa=TEST))
    assert corpus.train.tokens[0] == ["Anna", "Berg", "left", "Oslo", "."]
    assert corpus.train.tags == [
        ["B-PER", "I-PER", "O", "B-LOC", "O"],
        ["B-LOC", "B-LOC", "B-PER"],
    ]
    assert corpus.test.tags == corpus.validation.tags == [["B-LOC"]]
    assert "tags IOB1, converted to BIO" in corpus.notes
    assert "4 documents are marked, as by -DOCSTART-" in corpus.notes


def test_consecutive_documents_are_joined_to_clients(write):
    sizes = [300, 200, 499, 2, 100]
    text = "".join("-DOCSTART- O\n\n" + "a B-X\n\n" * size for size in sizes)
    corpus = conll.load(write(train_txt=text, test_txt=TEST))
    names, counts = np.unique(corpus.train.owners, return_counts=True)
    # The last hundred are too few for a client of their own.
    assert dict(zip(names, counts)) == {
        "train.txt_0-1": 500,
        "train.txt_2-4": 601,
    }
    assert set(corpus.test.owners) == {"test.txt_0-0"}


def test_tabs_part_columns_where_there_are_some(write):
    text = "a b\tO\n\tO\nc\u2028d \tB-X\r\n\r\n" * 5
    corpus = conll.load(write(x_conll=text))
    assert corpus.train.tokens[0] == ["a b", " ", "c\u2028d"]
    assert corpus.train.tags[0] == ["O", "O", "B-X"]
    assert (len(corpus.train), len(corpus.test)) == (4, 1)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no training file"),
        ({"test_txt": TEST}, "no training file"),
        ({"train_txt": TRAIN}, "every 5th"),
        ({"train_txt": TRAIN, "eng_train": TRAIN}, "eng.train and train.txt"),
        ({"train_txt": "", "test_txt": TEST}, "train.txt holds no sentences"),
        ({"train_txt": "-DOCSTART- O\n", "test_txt": TEST}, "no sentences"),
        ({"train_txt": "a b O\nc O\n", "test_txt": TEST}, "txt:2 has 2 col"),
        ({"train_txt": "a\n", "test_txt": TEST}, "txt:1 has one column"),
        ({"train_txt": "a O\n\nb -\n", "test_txt": TEST}, "3 .* than a tag"),
        ({"train_txt": "a O\n", "test_txt": TEST}, "no entity"),
        ({"train_txt": b"a O\n\xe9 O\n", "test_txt": TEST}, "byte 4 is 0xe9"),
        ({"train_txt": "a O\n\0 O\n", "test_txt": TEST}, "txt:2 has a zero"),
        ({"x_conll": "a B-X\n"}, "every 5th"),
    ],
)
def test_files_that_are_not_such_are_refused_in_a_sentence(write, files, words):
    with pytest.raises(errors.DataError, match=words):
        conll.load(write(**files))


def test_task_without_files_says_which():
    with pytest.raises(
        errors.ConfigError, match=r"ner_tagger needs --data_dir"
    ):
        ner.ner_tagger(DataConfig(task="ner_tagger"), 0)


def test_word_vectors_are_the_first_and_the_wanted(write):
    text = "The 1 2\nof 3 4\nTHE 9 9\nand 5 6\noslo 7 8\n"
    path = write(v_txt=text) + "/v.txt"
    vectors = word_vectors.read(path, {"oslo"}, most=2)
    assert list(vectors) == ["the", "of", "oslo"]
    np.testing.assert_array_equal(vectors["the"], [1, 2])
    with_header = write(w_txt="5 2\n" + text) + "/w.txt"
    assert list(word_vectors.read(with_header, {"oslo"}, 2)) == list(vectors)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a 1 2\nb 1\n", "v.txt:2 has 1 numbers .* first has 2"),
        ("a 1 2\nb 1 x\n", "v.txt:2 has something other"),
        ("a 1 2\nb 1 nan\n", "v.txt:2 has something other"),
        ("", "holds no word vectors"),
        (b"a 1 2\n\xff 1 2\n", "v.txt:2 is not UTF-8"),
    ],
)
def test_word_vectors_that_are_not_such_are_refused(write, content, words):
    path = write(v_txt=content) + "/v.txt"
    with pytest.raises(errors.DataError, match=words):
        word_vectors.read(path, set(), 10)


def test_word_vectors_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"--word_vectors=.*none"):
        word_vectors.read(str(tmp_path / "none"), set(), 10)


# Tags.


def test_tags_that_may_follow_each_other():
    legal = {(TAGS.names[i], TAGS.names[j]) for i, j in np.argwhere(TAGS.legal)}
    assert TAGS.names == ["", "O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert ("", "I-PER") not in legal
    assert ("O", "I-PER") not in legal
    assert ("B-LOC", "I-PER") not in legal
    assert ("I-LOC", "B-LOC") in legal
    assert ("B-PER", "I-PER") in legal
    assert not any(after == "" for _, after in legal)
    assert len(legal) == 6 * 3 + 4


# The CRF.


def test_crf_agrees_with_all_sequences_of_tags():
    draw = np.random.default_rng(0)
    potentials = draw.normal(size=[3, 4, 3, 3]).astype(np.float32)
    potentials[1, 2, 0, 1] = crf.IMPOSSIBLE
    sequences = list(itertools.product(range(3), repeat=4))
    scores = np.array(
        [
            [
                sum(p[t, i, j] for t, (i, j) in enumerate(zip((0, *s), s)))
                for s in sequences
            ]
            for p in potentials.astype(np.float64)
        ]
    )
    np.testing.assert_allclose(
        crf.log_normalizer(potentials),
        np.log(np.exp(scores).sum(axis=1)),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(
        crf.viterbi(tf.constant(potentials)),
        np.array(sequences)[scores.argmax(axis=1)],
    )
    for number in (0, 17, 80):
        tags = np.tile(sequences[number], (3, 1))
        np.testing.assert_allclose(
            crf.score(tf.constant(potentials), tags),
            scores[:, number],
            rtol=1e-5,
        )


def small_tagger(decoder, dropout=0.5, word_dropout=0.0):
    tf.keras.utils.set_random_seed(0)
    return tagger.bilstm(
        num_words=20,
        num_characters=9,
        width=4,
        legal=TAGS.legal,
        decoder=decoder,
        word_size=8,
        character_size=4,
        filters=4,
        units=6,
        dropout=dropout,
        word_dropout=word_dropout,
    )


def small_ids():
    """Sentences of 3, 5, 0 and 1 tokens, padded to 7."""
    ids = np.random.default_rng(1).integers(1, 9, [4, 7, 5]).astype(np.int32)
    for row, length in zip(ids, (3, 5, 0, 1)):
        row[length:] = 0
    return ids


@pytest.mark.parametrize("decoder", ["softmax", "crf"])
def test_padding_changes_nothing(decoder):
    model, ids = small_tagger(decoder), small_ids()
    outputs = model(ids)
    assert outputs.shape[:2] == (4, 7)
    tags = tagging.legal_tags(TAGS, outputs).numpy()
    np.testing.assert_array_equal(tags > 0, ids[..., 0] > 0)
    for row, length in enumerate((3, 5, 0, 1)):
        if length:
            alone = model(ids[row : row + 1, :length])
            np.testing.assert_allclose(
                alone[0], outputs[row, :length], atol=1e-5
            )
    wider = model(np.pad(ids, ((0, 0), (0, 5), (0, 0))))
    np.testing.assert_allclose(wider[:, :7], outputs, atol=1e-5)


def test_crf_gives_legal_tags_only_and_its_loss_is_a_likelihood():
    model, ids = small_tagger("crf"), small_ids()
    # Weights far from the first, so that all tags are found.
    model.set_weights([4 * weight for weight in model.get_weights()])
    potentials = model(ids)
    tags = tagger.decode(potentials).numpy()
    np.testing.assert_array_equal(tags, tagging.legal_tags(TAGS, potentials))
    # All legal sequences of three tags together are certain.
    sequences = [
        sequence
        for sequence in itertools.product(range(len(TAGS)), repeat=3)
        if all(TAGS.legal[i, j] for i, j in zip((0, *sequence), sequence))
    ]
    potentials = tf.repeat(potentials[:1, :3], len(sequences), axis=0)
    sequences = np.array(sequences, np.int32)
    log_likelihoods = crf.score(potentials, sequences) - crf.log_normalizer(
        potentials
    )
    assert np.exp(log_likelihoods).sum() == pytest.approx(1, abs=1e-4)
    loss = tagging.CrfLoss()(sequences, potentials)
    assert float(loss) == pytest.approx(-np.mean(log_likelihoods) / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("decoder", "loss_fn", "accuracy"),
    [
        ("softmax", TokenCrossEntropy, TokenAccuracy),
        pytest.param(
            *("crf", tagging.CrfLoss, tagging.CrfAccuracy),
            marks=pytest.mark.soak,
        ),
    ],
)
def test_loss_is_the_mean_over_tokens_and_falls(decoder, loss_fn, accuracy):
    model, ids = small_tagger(decoder, dropout=0.0), small_ids()
    tags = tag_numbers("B-PER I-PER O", "O B-LOC I-LOC O B-PER", "", "O")
    tags = np.pad(tags, ((0, 0), (0, 2))).astype(np.int32)
    loss = loss_fn()
    rows = [loss(tags[i : i + 1], model(ids[i : i + 1])) for i in (0, 1, 3)]
    mean = np.average([float(row) for row in rows], weights=[3, 5, 1])
    assert float(loss(tags, model(ids))) == pytest.approx(mean, rel=1e-4)
    optimizer = tf.keras.optimizers.legacy.Adam(0.05)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = loss(tags, model(ids, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    for _ in range(40):
        step()
    metric = accuracy()
    metric.update_state(tags, model(ids))
    assert metric.result() == 1
    np.testing.assert_array_equal(tagging.legal_tags(TAGS, model(ids)), tags)


@pytest.fixture(scope="module")
def some_unknown():
    """A tagger that drops words and nothing else; (itself, when trained).

    The latter is a function of a client's key, and gives its outputs.
    """
    model = small_tagger("softmax", dropout=0.0, word_dropout=0.3)
    variable_model = tff.learning.models.from_keras_model(
        model,
        loss=TokenCrossEntropy(),
        input_spec=(
            tf.TensorSpec([None, None, 5], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
        ),
    )
    generators = keyed_generator.replace(variable_model)

    def train(ids, key):
        for generator in generators:
            generator.begin(tf.constant(key, tf.int64), tf.constant(0))
        return model(ids, training=True).numpy()

    return model, train


def test_some_words_are_unknown_in_training_but_not_their_characters(
    some_unknown,
):
    model, train = some_unknown
    # Alone, so that all tokens are tagged the same, but for what is dropped.
    ids = np.tile(np.array([7, 3, 4, 5, 0], np.int32), (1000, 1, 1))
    ids[::2, 0] = 0
    unknown = ids.copy()
    unknown[1::2, 0, 0] = 1
    as_known, as_unknown = model(ids).numpy(), model(unknown).numpy()
    found = train(ids, 0)
    dropped = np.isclose(found, as_unknown, atol=1e-6).all((1, 2))[1::2]
    expected = np.where(
        dropped[:, np.newaxis, np.newaxis], as_unknown[1::2], as_known[1::2]
    )
    np.testing.assert_allclose(found[1::2], expected, atol=1e-6)
    assert abs(dropped.mean() - 0.3) < 0.1
    # Padding stays what it is.
    np.testing.assert_array_equal(found[::2], as_known[::2])


def test_words_are_dropped_by_the_key_and_not_in_evaluation(some_unknown):
    model, train = some_unknown
    ids = small_ids()
    evaluated = model(ids, training=False).numpy()
    np.testing.assert_array_equal(train(ids, 1), train(ids, 1))
    others = [train(ids, key) for key in range(2, 6)]
    assert any((other != train(ids, 1)).any() for other in others)
    assert any((other != evaluated).any() for other in others)
    np.testing.assert_array_equal(evaluated, model(ids))


# Text to ids.


def test_tokens_become_ids_of_words_in_lower_case_and_of_characters():
    to_ids = tagger.TokenIds(["oslo", "écru"], ["o", "O", "É"], width=3)
    ids = to_ids(tf.constant([["Oslo", "ÉCRU", "x", ""]]))
    np.testing.assert_array_equal(
        ids,
        [[[2, 3, 1, 1], [3, 4, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]],
    )


def test_vocabulary_is_that_of_the_clients_that_train(btc_dir, btc):
    made = task(btc_dir, unseen_clients=3)
    trains = set(made.train.client_ids)
    assert len(trains) == 3
    assert {*made.unseen.client_ids, *trains} == set("abefgh")
    counts = collections.Counter(
        token.lower()
        for owner, tokens in zip(btc.train.owners, btc.train.tokens)
        for token in tokens
        if owner in trains
    )
    known = sum(count >= 2 for count in counts.values())
    layer = made.build_model().get_layer("words")
    # And one for padding, one for all other words.
    assert layer.input_dim == known + 2
    assert made.test.x[..., 0].max() < layer.input_dim


def test_task_of_which_no_character_is_known_is_refused(write):
    text = "-DOCSTART- O\n\nOslo B-LOC\n"
    with pytest.raises(errors.DataError, match="no character that the clie"):
        task(write(eng_train=text, eng_testb=TEST))


def test_characters_suffice_where_no_word_is_known(write):
    text = "".join(f"w{number} O\n" for number in range(699)) + "w699 B-X\n"
    made = task(write(a_conll=text + "\n" + text.replace("w", "v")))
    assert made.build_model().get_layer("words").input_dim == 3
    ids = made.train.load("a").x
    assert set(np.unique(ids[..., 0])) == {0, 1}
    assert ids[0, :3, 1].tolist() == ids[0, 3:6, 1].tolist()


def test_clients_down_to_one_document(write):
    folder = write(eng_train=TRAIN, eng_testb=TEST)
    assert len(task(folder).train) == 1
    made = task(folder, sentences_per_client=1)
    assert made.train.client_ids == ("eng.train_0-0", "eng.train_1-1")
    assert "Each of the 2 documents" in made.notes


@pytest.mark.soak
def test_evaluation_takes_as_many_sentences_as_memory_allows(write):
    kinds = "".join(f"w{kind} B-K{kind}\n" for kind in range(60))
    text = ("a O\n" * 100 + "\n" + kinds + "\n") * 5
    for decoder, most in (("softmax", 8_000 // 100), ("crf", 16)):
        made = task(write(a_conll=text), tag_decoder=decoder)
        # 100 tokens; of a CRF's 122 by 122 potentials 25 million at most.
        assert central.Evaluator(made).batch_size == most


def test_inspection_counts_no_padding_and_says_what_is_chosen_on(
    write, tmp_path
):
    folder = write(train_txt=TRAIN, valid_txt=TEST, test_txt=TEST)
    done = run_script(
        "inspect_data.py",
        "--task=ner_tagger",
        f"--data_dir={folder}",
        f"--output={tmp_path / 'p.png'}",
    )
    assert done.returncode == 0, done.stderr
    assert "valid.txt has the validation set" in done.stdout
    assert ["validation", "set", "1"] in [
        line.split() for line in done.stdout.splitlines()
    ]
    lines = [line.split() for line in done.stdout.splitlines()]
    start = next(i for i, row in enumerate(lines) if row[:1] == ["class"])
    table = {row[0]: int(row[1]) for row in lines[start + 1 : start + 5]}
    assert table == {"O": 2, "B-LOC": 3, "B-PER": 2, "I-PER": 1}
    assert lines[start + 5] == []


# In a process of its own: makes the task, and evaluates it as a run does.
EVALUATED = """
import resource, sys
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.config.data import DataConfig
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.tasks import ner

options = DataConfig(
    task="ner_tagger", data_dir=sys.argv[1], tag_decoder="crf")
task = ner.ner_tagger(options, 0)
Evaluator(task).evaluate(initial_weights(task, 0), task.test)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.soak
def test_five_megabytes_take_less_than_one_and_a_half_gigabytes(tmp_path):
    draw = np.random.default_rng(0)
    tags = ["O"] * 12 + ["B-PER", "B-LOC", "B-ORG", "B-MISC"]
    for name, size in (("eng.train", 4_000_000), ("eng.testb", 1_000_000)):
        parts, written = [], 0
        while written < size:
            count = int(min(120, 1 + draw.gamma(2, 7)))
            words = np.minimum(draw.zipf(1.3, count), 30_000)
            chosen = draw.choice(tags, count)
            lines = (f"word{w} {tag}\n" for w, tag in zip(words, chosen))
            parts.append("".join(lines) + "\n")
            written += len(parts[-1])
        (tmp_path / name).write_text("".join(parts))
    done = subprocess.run(
        [sys.executable, "-c", EVALUATED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        cwd=ROOT,
    )
    assert int(done.stdout.split()[-1]) < 1500


def test_word_vectors_initialise_known_words(write):
    vectors = "oslo 1 2\nunheard 3 4\n"
    folder = write(eng_train=TRAIN, eng_testb=TEST, v_txt=vectors)
    made = task(folder, word_vectors=f"{folder}/v.txt")
    weights = made.build_model().get_layer("words").get_weights()[0]
    # Padding, unknown, anna and oslo (twice each), unheard.
    assert weights.shape == (5, 2)
    np.testing.assert_array_equal(weights[3:], [[1, 2], [3, 4]])
    ids = made.train.load("eng.train_0-1").x
    assert ids[0, 3, 0] == 3


# The whole road.


def baseline(corpus, tags):
    """Every word's most frequent tag in training; O for others.

    Returns:
      (truth, found), tags by number, one long sentence each.
    """
    counts = {}
    for sentence, names in zip(corpus.train.tokens, corpus.train.tags):
        for token, name in zip(sentence, names):
            row = counts.setdefault(token, np.zeros(len(tags), int))
            row[tags.names.index(name)] += 1
    best = {token: row.argmax() for token, row in counts.items()}
    truth, found = [], []
    for sentence, names in zip(corpus.test.tokens, corpus.test.tags):
        truth += [*(tags.names.index(name) for name in names), 0]
        found += [*(best.get(token, 1) for token in sentence), 0]
    return np.array([truth]), np.array([found])


def test_most_frequent_tag_scores_as_the_flagfile_says(btc):
    tags = Tags({name for names in btc.train.tags for name in names})
    truth, found = baseline(btc, tags)
    legal = tagging.legal_tags(tags, tf.one_hot(found, len(tags))).numpy()
    scores = {
        name: round(metric(truth, legal), 4)
        for name, metric in tagging.tag_metrics(tags).items()
    }
    assert scores == {
        "entity_f1": 0.4888,
        "entity_precision": 0.5784,
        "entity_recall": 0.4232,
        "token_micro_f1": 0.9178,
        "token_macro_f1": 0.4802,
        "token_weighted_f1": 0.9040,
    }


@pytest.fixture(scope="module")
def made_up_dir(tmp_path_factory):
    """Two sections; after "in" is a place, and what is in capitals a person."""
    folder = tmp_path_factory.mktemp("sections")
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefghij"))
    for name in ("x", "y"):
        sentences = []
        for _ in range(100):
            places, people = draw.random(6) < 0.2, draw.random(6) < 0.2
            lines = []
            for place, person in zip(places, people):
                word = "".join(draw.choice(letters, 3))
                if place:
                    lines += ["in O", f"{word} B-LOC"]
                elif person:
                    lines += [f"{word.upper()} B-PER", f"{word.upper()} I-PER"]
                else:
                    lines.append(f"{word} O")
            sentences.append("\n".join(lines))
        (folder / f"{name}.conll").write_text("\n\n".join(sentences))
    return folder


@pytest.fixture(scope="module")
def trained(made_up_dir, tmp_path_factory):
    """A run with a CRF: (its task, its result)."""
    config = ExperimentConfig(
        data=DataConfig(
            task="ner_tagger", data_dir=str(made_up_dir), tag_decoder="crf"
        ),
        clients=ClientConfig(
            clients_per_round=2,
            batch_size=8,
            optimizer=OptimizerConfig("client", "adam", 0.02),
        ),
        run=RunConfig(
            output_dir=str(tmp_path_factory.mktemp("ner") / "run"),
            total_rounds=6,
            rounds_per_eval=6,
        ),
    )
    return experiment.load_task(config), experiment.run(config)


def text_of(data_dir):
    """The test tokens, as the exported model wants them, and their tags."""
    test = conll.load(str(data_dir)).test
    length = max(map(len, test.tokens))

    def padded(sentences):
        return [[*each, *[""] * (length - len(each))] for each in sentences]

    return tf.constant(padded(test.tokens)), np.array(padded(test.tags))


@pytest.mark.soak
def test_federated_training_learns_entities(trained):
    _, result = trained
    assert result.evaluation["entity_f1"] > 0.9
    assert result.evaluation["accuracy"] > 0.95
    assert result.evaluation["token_micro_f1"] == pytest.approx(
        result.evaluation["accuracy"]
    )


@pytest.mark.soak
def test_exported_crf_tags_text_as_it_was_evaluated(trained, made_up_dir):
    made, result = trained
    serve = tf.saved_model.load(result.directory.saved_model).signatures[
        "serving_default"
    ]
    tokens, tags = text_of(made_up_dir)
    outputs = serve(tokens=tokens)
    assert set(outputs) == {"tag", "tag_id"}
    found = outputs["tag"].numpy().astype(str)
    np.testing.assert_array_equal(found == "", tags == "")
    right = (found == tags)[tags != ""].mean()
    assert right == pytest.approx(result.evaluation["accuracy"])
    scores = tagging.entity_scores(
        TAGS, made.test.y[:, : tags.shape[1]], outputs["tag_id"].numpy()
    )
    assert scores["f1"] == pytest.approx(result.evaluation["entity_f1"])


@pytest.mark.soak
def test_report_says_how_figures_were_made(trained):
    _, result = trained
    _, report = saved_runs.evaluate(result.directory.path)
    assert report["notes"] == (
        "x.conll, y.conll: tags BIO; no lines -DOCSTART-. Tags found are the "
        "best legal sequence."
    )
    assert report["central"]["entity_f1"] == pytest.approx(
        result.evaluation["entity_f1"]
    )


def test_softmax_serves_probabilities_of_any_text(write):
    made = task(write(eng_train=TRAIN, eng_testb=TEST))
    model = made.serving_fn(made.build_model())
    tokens = tf.constant([["Anna", "ünheard", "\u2028"], ["Oslo", "", ""]])
    outputs = made.outputs_fn(model(dict(tokens=tokens)))
    probabilities = outputs["probabilities"].numpy()
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities[1, 1:, 0], 1)
    np.testing.assert_array_equal(probabilities[0, :, 0], 0)
    np.testing.assert_array_equal(outputs["tag"][1, 1:], [b"", b""])
    assert outputs["tag_id"].shape == (2, 3)
