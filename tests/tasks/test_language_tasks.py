"""Shakespeare and Stack Exchange: texts, ids, windows, losses and models."""

import dataclasses
import gzip
import json
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import small_models
from tests.testing.data import data_folder
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import (
    characters,
    sequences,
    shakespeare,
    stackexchange,
    words,
)
from tff_pipeline.datasets.federation.split import draw_clients
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.export import saved_model
from tff_pipeline.models import bag_of_words, recurrent
from tff_pipeline.models.peephole import PeepholeLSTMCell


def load(name, seed=0, **options):
    return registry.load(name, registry.TASKS)(
        DataConfig(task=name, **options), seed
    )


def write(folder, name, lines):
    """Writes a gzipped file of JSON lines; returns the folder."""
    text = "".join(
        line if isinstance(line, str) else json.dumps(line) + "\n"
        for line in lines
    )
    (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    return str(folder)


# Windows.


@pytest.mark.parametrize("count", [2, 3, 5, 6, 9, 10, 21])
def test_every_token_but_the_first_is_a_target_once(count):
    tokens = np.arange(1, count + 1, dtype=np.int32)
    cut = sequences.windows(tokens, 4)
    assert cut.x.shape == cut.y.shape == (math.ceil((count - 1) / 4), 4)
    assert cut.x.dtype == cut.y.dtype == np.int32
    kept = cut.y != sequences.PADDING
    assert cut.y[kept].tolist() == tokens[1:].tolist()
    assert cut.x[kept].tolist() == tokens[:-1].tolist()
    assert not cut.x[~kept].any()


def test_windows_know_their_clients():
    texts = [
        ("b", [np.arange(1, 7), np.arange(1, 3)]),
        ("a", [np.arange(1, 3)]),
    ]
    cut, owners = sequences.client_windows(texts, 4)
    assert owners.tolist() == ["b", "b", "b", "a"]
    assert cut.y.tolist() == [
        [2, 3, 4, 5],
        [6, 0, 0, 0],
        [2, 0, 0, 0],
        [2, 0, 0, 0],
    ]


# Characters.


def test_alphabets_have_as_many_ids_as_published():
    reddi, utf8_bytes = characters.reddi(), characters.utf8_bytes()
    assert len(reddi.symbols) == 90
    assert len(utf8_bytes.symbols) == 258
    for alphabet in (reddi, utf8_bytes):
        assert alphabet.begin < len(alphabet.symbols)
        assert alphabet.ids.min() > sequences.PADDING


@pytest.mark.parametrize(
    "alphabet", [characters.reddi(), characters.utf8_bytes()]
)
def test_known_characters_come_back_from_their_ids(alphabet):
    text = "Hail, [Macbeth]!\nIt's 'double' & 1/2?"
    ids = alphabet.encode(text)
    assert ids[0] == alphabet.begin
    assert b"".join(alphabet.symbols[i] for i in ids) == text.encode()


def test_unknown_characters_share_one_id_and_bytes_are_never_unknown():
    ids = characters.reddi().encode("é~語")[1:-1]
    assert len(ids) == 3
    assert set(ids.tolist()) == {87}
    alphabet = characters.utf8_bytes()
    spelled = b"".join(alphabet.symbols[i] for i in alphabet.encode("é~語"))
    assert spelled.decode() == "é~語"


# Shakespeare.


def test_roles_are_cut_by_lines_across_speeches(tmp_path):
    folder = write(
        tmp_path,
        shakespeare.FILE,
        [
            {"client": "A", "speeches": [["1", "2", "3"], ["4"], ["5", "6"]]},
            {"client": "B", "speeches": [["1", "2"]]},
            {"client": "C", "speeches": [["1", "2"], ["3"]]},
            {"client": "D", "speeches": [[str(i) for i in range(10)]]},
        ],
    )
    roles = {role.name: role for role in shakespeare.load(folder, "task")}
    assert sorted(roles) == ["A", "C", "D"]
    assert roles["A"].train == ["1\n2\n3", "4", "5"]
    assert roles["A"].test == ["6"]
    assert (roles["C"].train, roles["C"].test) == (["1\n2"], ["3"])
    assert roles["D"].test == ["8\n9"]


@pytest.fixture(scope="module")
def next_char():
    return load(
        "shakespeare_next_char",
        data_dir=str(data_folder("shakespeare")),
        max_examples_per_client=128,
    )


def windows_of(text, length=4):
    """LEAF's windows of a text, and what follows each."""
    starts = range(len(text) - length)
    return {
        "x": [text[at : at + length] for at in starts],
        "y": [text[at + length] for at in starts],
    }


def write_leaf(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    users = {name: windows_of(text) for name, text in texts.items()}
    counts = [len(each["y"]) for each in users.values()]
    content = {
        "users": [*users],
        "num_samples": counts,
        "hierarchies": ["PLAY"] * len(users),
        "user_data": users,
    }
    path.write_text(json.dumps(content))


def test_leafs_windows_are_texts_again(tmp_path):
    texts = {"A": "To be, or not to be", "B": "aaaaaaaaaa"}
    write_leaf(tmp_path / "train" / "all_data_train_9.json", texts)
    write_leaf(tmp_path / "test" / "all_data_test_9.json", {"A": "that is"})
    roles = shakespeare.load(str(tmp_path), "task")
    assert [(role.name, role.train, role.test) for role in roles] == [
        ("A", ["To be, or not to be"], ["that is"]),
        ("B", ["aaaaaaaaaa"], []),
    ]
    # What was not split is split here; a sample of windows is several texts.
    path = tmp_path / "train" / "all_data_train_9.json"
    (role, _) = shakespeare.load(str(path), "task")
    assert (role.train, role.test) == (["To be, or not to"], [" be"])
    content = json.loads(path.read_text())
    for values in content["user_data"]["A"].values():
        del values[5]
    content["num_samples"][0] -= 1
    path.write_text(json.dumps(content))
    (role, _) = shakespeare.load(str(tmp_path), "task")
    assert role.train == ["To be, or", " or not to be"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"To b"', "3", "user 1 has an example that is no text with the"),
        ('"To b"', '""', "user 1 has an example that is no text"),
        ('"To b"', '"\\ud800"', "half a character"),
        ('"user_data"', '"data"', "is no file of LEAF"),
        ('"A": {', '"A": {"z": 1}, "B": {', "names in"),
    ],
)
def test_leafs_files_without_text_are_refused(tmp_path, old, new, words):
    path = tmp_path / "a.json"
    write_leaf(path, {"A": "To be, or not to be"})
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(errors.DataError, match=words):
        shakespeare.load(str(tmp_path), "task")


def test_shakespeare_has_its_clients_characters_and_parameters(next_char):
    assert len(next_char.train) == len(next_char.test_clients) == 1144
    # All characters of the last fifth of the lines, and an end each speech.
    assert (next_char.test.y != sequences.PADDING).sum() == 870887
    assert next_char.test.x.shape == (14370, 80)
    assert next_char.build_model().count_params() == 820522
    sizes = [next_char.train.size(name) for name in next_char.train.client_ids]
    assert (min(sizes), max(sizes), sum(sizes)) == (1, 128, 44194)


def test_mcmahans_lstm_has_the_published_number_of_parameters():
    task = load("shakespeare_lstm", data_dir=str(data_folder("shakespeare")))
    assert task.build_model().count_params() == 866578
    assert recurrent.two_lstms(258).count_params() == 866578 - 2 * 3 * 256
    assert len(task.train) == 1144
    train = sum(
        (task.train.load(name).y != sequences.PADDING).sum()
        for name in task.train.client_ids
    )
    assert (train, (task.test.y != sequences.PADDING).sum()) == (
        3568317,
        869743,
    )


def test_no_constant_number_of_symbols_explains_mcmahans_without_peepholes():
    counts = {796672 + 265 * ids for ids in range(1000)}
    assert 866578 not in counts
    assert 866578 - 1536 in counts


def test_without_peephole_weights_the_cell_is_keras_own():
    cell = PeepholeLSTMCell(5)
    layer = tf.keras.layers.RNN(cell, return_sequences=True)
    keras_layer = tf.keras.layers.LSTM(5, return_sequences=True)
    inputs = tf.random.stateless_normal([3, 7, 2], [1, 2])
    layer(inputs), keras_layer(inputs)
    kernel, recurrent_kernel, bias, peepholes = cell.get_weights()
    assert not peepholes.any()
    assert bias.reshape(4, 5).tolist() == [[0] * 5, [1] * 5, [0] * 5, [0] * 5]
    keras_layer.set_weights([kernel, recurrent_kernel, bias])
    np.testing.assert_allclose(layer(inputs), keras_layer(inputs), atol=1e-6)
    cell.peepholes.assign(tf.ones([3, 5]))
    assert np.abs(layer(inputs) - keras_layer(inputs)).max() > 0.01


def test_peepholes_see_the_old_state_but_for_the_output_gate_the_new():
    cell = PeepholeLSTMCell(1)
    cell.build([None, 1])
    weights = [[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.6, 0.7, 0.8]], [0, 1, 0, 0]]
    cell.set_weights([*map(np.array, weights), np.array([[2.0], [3.0], [4.0]])])
    x, h, c = 0.5, -0.3, 0.7

    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    enter = sigmoid(0.1 * x + 0.5 * h + 2 * c)
    forget = sigmoid(0.2 * x + 0.6 * h + 1 + 3 * c)
    state = forget * c + enter * math.tanh(0.3 * x + 0.7 * h)
    hidden = sigmoid(0.4 * x + 0.8 * h + 4 * state) * math.tanh(state)
    _, after = cell(
        tf.constant([[x]]), [tf.constant([[h]]), tf.constant([[c]])]
    )
    assert float(after[0][0, 0]) == pytest.approx(hidden, rel=1e-5)
    assert float(after[1][0, 0]) == pytest.approx(state, rel=1e-5)


# Words.


def test_words_are_small_and_without_punctuation():
    texts = ["Don't PANIC -- it's É/été!", "", "a_b 3.14"]
    split = [
        [word.decode() for word in text]
        for text in words.split(tf.constant(texts)).to_list()
    ]
    assert split == [
        ["don't", "panic", "it's", "é", "été"],
        [],
        ["a", "b", "3", "14"],
    ]


def test_vocabulary_is_by_frequency_then_alphabet_of_chosen_texts():
    texts = words.WordTexts.from_texts(["b a a c", "z z z z", "", "c d"])
    chosen = np.array([True, False, True, True])
    assert texts.vocabulary(chosen, 3) == ["a", "c", "b"]
    ids = texts.ids(["a", "c", "b"])
    assert [text.tolist() for text in ids] == [
        [4, 2, 2, 3],
        [1, 1, 1, 1],
        [],
        [3, 1],
    ]
    lookup = tf.keras.layers.StringLookup(
        vocabulary=["a", "c", "b"], mask_token=""
    )
    assert lookup(["b", "a", "z", ""]).numpy().tolist() == [4, 2, 1, 0]


# Stack Exchange.


def question(text, *tags):
    return {"title": "T", "text": text, "tags": list(tags)}


def test_posts_of_a_user_are_held_out_from_the_end():
    owners = np.array([*"aabcccccccccca"])
    tested = stackexchange.held_out(owners)
    assert np.flatnonzero(tested).tolist() == [11, 12, 13]


def test_questions_have_their_titles_and_answers_no_tags(tmp_path):
    folder = write(
        tmp_path,
        stackexchange.FILE,
        [{"client": "s/1", "posts": [question("q", "x"), {"text": "a"}]}],
    )
    posts = stackexchange.load(folder, "task")
    assert [(post.text, post.tags) for post in posts] == [
        ("T\nq", ["x"]),
        ("a", None),
    ]


@pytest.fixture(scope="module")
def tags():
    return load(
        "stackexchange_tags",
        data_dir=str(data_folder("stackexchange")),
        unseen_clients=300,
    )


def test_tags_have_their_clients_questions_and_parameters(tags):
    assert len(tags.train) + len(tags.unseen) == 1730
    questions = sum(
        part.size(name)
        for part in (tags.train, tags.test_clients, tags.unseen)
        for name in part.client_ids
    )
    assert questions == 4069
    assert tags.build_model().count_params() == 10001 * 500


def test_tags_and_words_of_unseen_users_and_test_posts_are_not_counted(
    tmp_path,
):
    users = [
        {
            "client": f"user{i}",
            "posts": [
                question(f"word{i} test{j}", f"tag{i}") for j in range(2)
            ],
        }
        for i in range(10)
    ]
    folder = write(tmp_path, stackexchange.FILE, users)
    task = load("stackexchange_tags", data_dir=folder, unseen_clients=3)
    # "t", "test0" and a word each of seven users; not "test1".
    assert task.build_model().layers[1].num_ids == 2 + 9
    assert task.test.y.shape == (7, 7)
    unseen = draw_clients(
        np.array([user["client"] for user in users]), 3, seed=0
    ).tolist()
    assert sorted(task.unseen.client_ids) == sorted(unseen)
    for name in unseen:
        assert not task.unseen.load(name).y.any()


def test_next_word_has_its_clients_words_and_parameters():
    task = load(
        "stackexchange_next_word",
        data_dir=str(data_folder("stackexchange")),
        unseen_clients=300,
    )
    assert len(task.train) + len(task.unseen) == 3009
    assert task.build_model().count_params() == 4050748
    assert task.test.x.max() < recurrent.WORD_IDS
    # A tied output layer has its bias alone.
    tied = recurrent.next_word_tied()
    assert tied.count_params() == 4050748 - 10004 * 96
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tied(tf.constant([[2, 3]])) ** 2)
    assert None not in tape.gradient(loss, tied.trainable_variables)


def test_shares_are_of_known_words_alone():
    shares = bag_of_words.WordShares(5)(tf.constant([[2, 4, 4, 1, 0], [0] * 5]))
    np.testing.assert_allclose(shares, [[1 / 3, 0, 2 / 3], [0, 0, 0]])


# From end to end.


def served(task, folder):
    """The exported model of a task, and the weights in it."""
    weights = tff.learning.models.ModelWeights.from_model(task.build_model())
    saved_model.export(task, weights, folder)
    return tf.saved_model.load(folder).signatures["serving_default"], weights


@pytest.fixture
def small_shakespeare(tmp_path):
    lines = ["to be, or not to be", "that is the question:", "é?"]
    users = [
        {"client": f"role {i}", "speeches": [lines, lines[i:]]}
        for i in range(3)
    ]
    return write(tmp_path, shakespeare.FILE, users)


@pytest.mark.parametrize(
    "name", soaked("shakespeare_next_char", "shakespeare_lstm")
)
def test_served_characters_are_those_of_evaluation(
    name, small_shakespeare, tmp_path
):
    task = load(name, data_dir=small_shakespeare)
    alphabet = characters.reddi()
    if name == "shakespeare_lstm":
        alphabet = characters.utf8_bytes()
    ids = task.build_model().outputs[0].shape[-1]
    task = dataclasses.replace(
        task, model_fn=lambda: small_models.next_token(ids)
    )
    model = task.build_model()
    weights = tff.learning.models.ModelWeights.from_model(model)
    path = str(tmp_path / "model")
    saved_model.export(task, weights, path)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    texts = ["to be é", "", "x" * 200]
    given = serve(text=tf.constant(texts))
    for row, text in enumerate(texts):
        ids = alphabet.encode(text)
        ids = ids[: len(ids) - (alphabet.end is not None)][-80:]
        expected = model(ids[np.newaxis])[0, -1]
        np.testing.assert_allclose(given["logits"][row], expected, atol=1e-5)
        symbol = alphabet.symbols[int(given["class_id"][row])]
        assert given["next"][row].numpy() == symbol
    again = tf.keras.models.load_model(path)(tf.constant(texts))
    np.testing.assert_allclose(again, given["logits"], atol=1e-5)


def test_served_tags_are_those_of_evaluation(tmp_path):
    users = [
        {"client": f"u{i}", "posts": [question(f"w{i} w{i} v", f"t{i}", "t")]}
        for i in range(7)
    ]
    posts = [question("w1 V?! unheard", "t1"), question("w2", "t2")]
    users.append({"client": "tested", "posts": posts})
    task = load(
        "stackexchange_tags",
        data_dir=write(tmp_path, stackexchange.FILE, users),
    )
    serve, weights = served(task, str(tmp_path / "model"))
    given = serve(text=tf.constant(["T\nw2"]))
    model = task.build_model()
    weights.assign_weights_to(model)
    np.testing.assert_allclose(
        given["logits"], model(task.test.x), rtol=1e-5, atol=1e-6
    )
    assert given["tags"].shape == (1, 5)


@pytest.mark.soak
def test_served_words_are_those_of_evaluation(tmp_path):
    posts = [{"text": "One two, THREE."}, {"text": "two two four"}]
    users = [{"client": "a", "posts": posts}]
    folder = write(tmp_path, stackexchange.FILE, users)
    task = dataclasses.replace(
        load("stackexchange_next_word", data_dir=folder),
        model_fn=lambda: small_models.next_token(recurrent.WORD_IDS),
    )
    # Begin; "one", "three" and "two" are 2, 3 and 4, "four" is unknown.
    assert task.test.x[0, :5].tolist() == [10002, 4, 4, 1, 0]
    assert task.test.y[0, :5].tolist() == [4, 4, 1, 10003, 0]
    serve, weights = served(task, str(tmp_path / "model"))
    given = serve(text=tf.constant(["Two two -- four!"]))
    model = task.build_model()
    weights.assign_weights_to(model)
    expected = model(task.test.x)[:, 3]
    np.testing.assert_allclose(given["logits"], expected, atol=1e-5)
    names = {2: b"one", 3: b"three", 4: b"two"}
    name = names.get(int(given["class_id"][0]), b"")
    assert given["next"].numpy().tolist() == [name]


@pytest.fixture(scope="module")
def trained_tags(tmp_path_factory):
    path = tmp_path_factory.mktemp("tags")
    config = ExperimentConfig(
        data=DataConfig(
            task="stackexchange_tags",
            data_dir=str(data_folder("stackexchange")),
            unseen_clients=300,
        ),
        clients=ClientConfig(
            clients_per_round=50,
            batch_size=100,
            optimizer=OptimizerConfig("client", learning_rate=1.0),
        ),
        server=ServerConfig(
            OptimizerConfig(
                "server",
                "adagrad",
                learning_rate=3.0,
                initial_accumulator=1e-10,
                epsilon=1e-5,
            )
        ),
        run=RunConfig(
            output_dir=str(path / "run"), total_rounds=5, rounds_per_eval=5
        ),
    )
    return experiment.run(config)


def test_tags_are_learned_and_the_saved_model_gives_what_was_evaluated(
    trained_tags, tags
):
    # The five most frequent tags of the training users have .2595.
    recall = trained_tags.evaluation["recall_at_5"]
    assert recall > 0.28
    serve = tf.saved_model.load(trained_tags.directory.saved_model)
    serve = serve.signatures["serving_default"]
    posts = [
        post
        for post in stackexchange.load(
            str(data_folder("stackexchange")), "task"
        )
        if post.tags is not None
    ]
    clients = np.array([post.client for post in posts])
    tested = stackexchange.held_out(clients)
    tested &= np.isin(clients, list(tags.test_clients.client_ids))
    texts = [posts[i].text for i in np.flatnonzero(tested)]
    likeliest = serve(text=tf.constant(texts))["tags"].numpy().tolist()
    known = set(tags.outputs_fn(tf.zeros([1, 500])).keys())
    assert known == {"logits", "probabilities", "tags"}
    hits = sum(
        tag.encode() in found
        for i, found in zip(np.flatnonzero(tested), likeliest)
        for tag in posts[i].tags
    )
    assert hits / tags.test.y.sum() == pytest.approx(recall, rel=1e-5)


@pytest.mark.soak
def test_a_batch_of_wide_outputs_is_evaluated_in_parts(small_shakespeare):
    task = load("shakespeare_next_char", data_dir=small_shakespeare)
    whole, parts = Evaluator(task), Evaluator(task)
    assert whole.batch_size == 1000
    parts.batch_size = 1
    weights = tff.learning.models.ModelWeights.from_model(task.build_model())
    first, second = (
        each.evaluate(weights, task.test) for each in (whole, parts)
    )
    assert first["accuracy"] == pytest.approx(second["accuracy"])


# What a user can get wrong.


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("shakespeare_lstm", shakespeare.FILE),
        ("shakespeare_next_char", shakespeare.FILE),
        ("stackexchange_tags", stackexchange.FILE),
        ("stackexchange_next_word", stackexchange.FILE),
    ],
)
def test_without_the_file_one_is_told_which_is_wanted(name, file, tmp_path):
    with pytest.raises(errors.ConfigError, match=f"{name}.*--data_dir.*{file}"):
        load(name)
    with pytest.raises(errors.DataError, match=f"{file}.gz does not exist"):
        load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("lines", "words_of_error"),
    [
        ([], "the file is empty"),
        (["{\n"], "line 1 is not JSON"),
        (["\n", "[1]\n"], "line 2 is not an object with client, speeches"),
        ([{"client": 3, "speeches": []}], "line 1 needs 'client', text, not 3"),
        ([{"client": "a"}], "line 1 needs 'speeches', a list, not null"),
        (
            [{"client": "a", "speeches": [["x", 1]]}],
            r"role 1 \(a\) needs .* lists of lines",
        ),
        ([{"client": "a", "speeches": [["x"]]}], "no role of more than two"),
    ],
)
def test_damaged_roles_are_refused(lines, words_of_error, tmp_path):
    folder = write(tmp_path, shakespeare.FILE, lines)
    with pytest.raises(errors.DataError, match=words_of_error) as caught:
        shakespeare.load(folder, "task")
    assert str(caught.value).startswith(f"{folder}/{shakespeare.FILE}.gz")


@pytest.mark.parametrize(
    ("post", "words_of_error"),
    [
        ("p", "post 1 of a is not an object"),
        ({"text": None}, "post 1 of a needs 'text', text, not null"),
        ({"text": "", "tags": []}, "post 1 of a needs 'title'"),
        ({"text": "", "title": "", "tags": [1]}, "post 1 of a has a tag"),
    ],
)
def test_damaged_posts_are_refused(post, words_of_error, tmp_path):
    users = [{"client": "a", "posts": [post]}]
    folder = write(tmp_path, stackexchange.FILE, users)
    with pytest.raises(errors.DataError, match=words_of_error):
        stackexchange.load(folder, "task")


def test_a_file_cut_short_is_refused(tmp_path):
    folder = write(tmp_path, stackexchange.FILE, [{"client": "a", "posts": []}])
    path = tmp_path / f"{stackexchange.FILE}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        errors.DataError, match=r"cannot be read.*fetch it again"
    ):
        stackexchange.load(folder, "task")


def test_questions_without_any_tags_are_refused(tmp_path):
    folder = write(
        tmp_path,
        stackexchange.FILE,
        [{"client": "a", "posts": [question("x"), question("y")]}],
    )
    with pytest.raises(errors.DataError, match="no question with a tag"):
        load("stackexchange_tags", data_dir=folder)
    folder = write(
        tmp_path,
        stackexchange.FILE,
        [{"client": "a", "posts": [{"text": "x"}]}],
    )
    with pytest.raises(errors.DataError, match="no question"):
        load("stackexchange_tags", data_dir=folder)
