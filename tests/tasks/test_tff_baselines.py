"""TFF's baselines: its clients, encoded as it does, for models of its sizes."""

import functools
import sqlite3

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.scripts import rows_of, run_script
from tff_pipeline import errors, registry
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import tff_data

BASELINES = tff.simulation.baselines
NAMES = [
    name
    for name in registry.TASKS
    if "tff_data" in registry.task_entry(name).options
]
SPEC = BASELINES.ClientSpec(num_epochs=1, batch_size=1, shuffle_buffer_size=1)


def load(name, **options):
    options = DataConfig(task=name, **options)
    return registry.load(name, registry.TASKS)(options, seed=0)


@functools.cache
def synthetic(name):
    return load(name, tff_data="synthetic")


def refused(name, error=errors.ConfigError, **options):
    """The sentence with which the task is refused."""
    with pytest.raises(error) as caught:
        load(name, **options)
    return str(caught.value)


# Models.


@pytest.mark.soak
def test_models_have_the_sizes_of_tff():
    theirs = {
        "tff_emnist": BASELINES.emnist.emnist_models.create_conv_dropout_model(
            only_digits=False
        ),
        "tff_shakespeare": (
            BASELINES.shakespeare.char_prediction_models.create_recurrent_model(
                BASELINES.shakespeare.VOCAB_LENGTH, 80
            )
        ),
        "tff_stackoverflow_word": (
            BASELINES.stackoverflow.word_prediction_models.create_recurrent_model(
                10_004
            )
        ),
    }
    wanted = {
        "tff_emnist": 1_206_590,
        "tff_shakespeare": 820_522,
        "tff_stackoverflow_word": 4_050_748,
    }
    for name, model in theirs.items():
        assert model.count_params() == wanted[name]
        assert synthetic(name).model_fn().count_params() == wanted[name]
    # 60 made-up words and 20 tags: weights and biases.
    tags = synthetic("tff_stackoverflow_tag").model_fn()
    assert tags.count_params() == 60 * 20 + 20


@pytest.mark.soak
def test_cifar_model_is_tffs_on_what_tff_makes_of_an_image():
    task = synthetic("tff_cifar100")
    model = task.build_model()
    theirs = tff.simulation.models.resnet_models.create_resnet18(
        (24, 24, 3), 100
    )
    assert model.count_params() == theirs.count_params() == 11_227_812
    theirs.set_weights(model.get_weights())
    prepare = BASELINES.cifar100.image_classification_preprocessing
    image_map = prepare.build_image_map((24, 24, 3))
    inputs = [image_map({"image": x, "label": 0})[0] for x in task.test.x[:3]]
    np.testing.assert_allclose(
        tf.nn.softmax(model(task.test.x[:3])),
        theirs(tf.stack(inputs)),
        rtol=1e-4,
        atol=1e-6,
    )


# Clients, as TFF's own preprocessing gives them.


def stackoverflow_preprocessing(name):
    words = tff_data.stackoverflow_words(None)
    baseline = BASELINES.stackoverflow
    if name == "tff_stackoverflow_word":
        module = baseline.word_prediction_preprocessing
        return module.create_preprocess_fn(SPEC, words)
    module = baseline.tag_prediction_preprocessing
    return module.create_preprocess_fn(
        SPEC, words, tff_data.stackoverflow_tags(None)
    )


@pytest.mark.parametrize(
    ("name", "datasets", "preprocessing"),
    [
        (
            "tff_emnist",
            tff.simulation.datasets.emnist,
            # Without a seed TFF maps the images in whatever order they finish.
            lambda _: (
                BASELINES.emnist.emnist_preprocessing.create_preprocess_fn(
                    SPEC, debug_seed=0
                )
            ),
        ),
        (
            "tff_shakespeare",
            tff.simulation.datasets.shakespeare,
            lambda _: (
                BASELINES.shakespeare.char_prediction_preprocessing
            ).create_preprocess_fn(SPEC),
        ),
        (
            "tff_stackoverflow_tag",
            tff.simulation.datasets.stackoverflow,
            stackoverflow_preprocessing,
        ),
        (
            "tff_stackoverflow_word",
            tff.simulation.datasets.stackoverflow,
            stackoverflow_preprocessing,
        ),
    ],
)
def test_clients_have_the_examples_that_tff_gives_them(
    name, datasets, preprocessing
):
    task = synthetic(name)
    theirs = datasets.get_synthetic().preprocess(preprocessing(name))
    assert list(task.train.client_ids) == theirs.client_ids
    total = 0
    for client_id in theirs.client_ids:
        dataset = theirs.create_tf_dataset_for_client(client_id)
        batches = list(dataset.as_numpy_iterator())
        ours = task.train.load(client_id)
        assert len(ours) == task.train.size(client_id) == len(batches)
        np.testing.assert_array_equal(
            ours.x, np.concatenate([x for x, _ in batches])
        )
        np.testing.assert_array_equal(
            ours.y, np.concatenate([y for _, y in batches])
        )
        total += len(ours)
    # Made-up clients are tested on what they train on.
    assert len(task.test) == total
    assert list(task.test_clients.client_ids) == theirs.client_ids


def test_word_accuracy_leaves_out_the_unknown_and_the_end():
    task = synthetic("tff_stackoverflow_word")
    accuracy, words = task.metrics_fn()
    # A word hit, a word missed, unknown and end hit, padding.
    targets = np.array([[5, 6, 61, 63, 0]], np.int32)
    outputs = tf.one_hot([[5, 7, 61, 63, 0]], 64)
    for metric, share in ((accuracy, 3 / 4), (words, 1 / 2)):
        metric.update_state(targets, outputs)
        assert metric.result().numpy() == pytest.approx(share)


# TFF's files, here ones of a few clients.


def write_clients(path, splits):
    """An SQLite file like TFF's: split -> client -> serialized examples."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE examples (split_name TEXT, client_id TEXT, "
            "serialized_example_proto BLOB)"
        )
        connection.execute(
            "CREATE TABLE client_metadata (client_id TEXT, split_name TEXT, "
            "num_examples INTEGER)"
        )
        for split, clients in splits.items():
            for client, examples in clients.items():
                connection.execute(
                    "INSERT INTO client_metadata VALUES (?, ?, ?)",
                    (client, split, len(examples)),
                )
                connection.executemany(
                    "INSERT INTO examples VALUES (?, ?, ?)",
                    [(split, client, example) for example in examples],
                )
    connection.close()


def character(label, grey):
    """A serialized example of EMNIST, all of whose pixels are `grey`."""
    feature = {
        "pixels": tf.train.Feature(
            float_list=tf.train.FloatList(value=[grey] * 784)
        ),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


@pytest.fixture(scope="module")
def emnist_dir(tmp_path_factory):
    """Six writers of ten characters each, two of them in the test part.

    The last one's training part is damaged.
    """
    folder = tmp_path_factory.mktemp("emnist")
    splits = {"all_train": {}, "all_test": {}}
    for writer in range(6):
        rows = [character(10 * writer + k, k / 10) for k in range(10)]
        splits["all_train"][f"f{writer}"] = rows[:8]
        splits["all_test"][f"f{writer}"] = rows[8:]
    splits["all_train"]["f5"] = [b"no example"]
    write_clients(folder / "emnist_all.sqlite", splits)
    return str(folder)


def test_clients_come_from_tffs_file(emnist_dir):
    task = load("tff_emnist", data_dir=emnist_dir)
    assert list(task.train.client_ids) == ["f0", "f1", "f2", "f3", "f4", "f5"]
    examples = task.train.load("f3")
    assert examples.x.shape == (8, 28, 28, 1)
    assert examples.y.tolist() == list(range(30, 38))
    np.testing.assert_allclose(examples.x[:, 3, 4, 0], np.arange(8) / 10)
    assert sorted(task.test.y) == sorted(
        10 * writer + k for writer in range(6) for k in (8, 9)
    )
    assert task.test_clients.load("f2").y.tolist() == [28, 29]
    assert task.unseen is None


def test_client_is_not_read_before_it_is_asked_for(emnist_dir):
    # The task was made above, with a client in it that cannot be read.
    task = load("tff_emnist", data_dir=emnist_dir)
    with pytest.raises(errors.DataError, match="Client f5 cannot be read"):
        task.train.load("f5")


def test_held_out_clients_are_tested_on_all_they_have(emnist_dir):
    task = load("tff_emnist", data_dir=emnist_dir, unseen_clients=2)
    held_out = list(task.unseen.client_ids)
    assert len(held_out) == 2
    assert not set(held_out) & set(task.train.client_ids)
    assert not set(held_out) & set(task.test_clients.client_ids)
    assert (len(task.train), len(task.test)) == (4, 8)
    name = next(name for name in held_out if name != "f5")
    writer = int(name[1:])
    wanted = list(range(10 * writer, 10 * writer + 10))
    assert task.unseen.load(name).y.tolist() == wanted


def test_only_so_many_examples_are_kept(emnist_dir):
    options = {"data_dir": emnist_dir, "max_test_examples": 5}
    task = load("tff_emnist", max_examples_per_client=3, **options)
    assert len(task.test) == 5
    # Of the clients that these are of, two and two and one.
    assert len(task.test_clients) == 3
    owners = {f"f{label // 10}" for label in task.test.y}
    assert set(task.test_clients.client_ids) == owners
    labels = task.train.load("f1").y.tolist()
    assert len(labels) == 3
    assert set(labels) < set(range(10, 18))
    assert labels == task.train.load("f1").y.tolist()
    again = load("tff_emnist", max_examples_per_client=3, **options)
    assert again.train.load("f1").y.tolist() == labels
    np.testing.assert_array_equal(again.test.y, task.test.y)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: whole[: len(whole) // 2], "is cut short: "),
        (lambda whole: whole[:-1], "is cut short: "),
        (lambda whole: whole[:50], "is not an SQLite file"),
        (lambda _: b"<html>" * 50, "is not an SQLite file"),
        (lambda whole: whole[:100] + bytes(len(whole) - 100), "TFF's clients"),
    ],
)
def test_damaged_file_is_refused(emnist_dir, tmp_path, content, reason):
    # As TFF's own download leaves it when it is cut off.
    with open(f"{emnist_dir}/emnist_all.sqlite", "rb") as file:
        whole = file.read()
    path = tmp_path / "emnist_all.sqlite"
    path.write_bytes(content(whole))
    message = refused("tff_emnist", errors.DataError, data_dir=str(tmp_path))
    assert message.startswith(f"{path} ")
    assert reason in message
    assert message.endswith("remove it, and it is fetched again.")


def test_file_that_cannot_be_fetched_is_named_with_its_place(
    tmp_path, monkeypatch
):
    # No one listens there, so no request leaves this machine.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name, file in (
        ("tff_emnist", "emnist_all.sqlite.lzma"),
        ("tff_cifar100", "cifar100.sqlite.lzma"),
        ("tff_shakespeare", "shakespeare.sqlite.lzma"),
    ):
        message = refused(name, errors.DataError, data_dir=str(tmp_path))
        assert message.startswith(f"{tff_data.ORIGIN}{file} could not be")
        assert message.endswith(f"and put it into {tmp_path}.")
    options = {"data_dir": str(tmp_path), "max_test_examples": 100}
    message = refused("tff_stackoverflow_tag", errors.DataError, **options)
    assert "stackoverflow.word_count.tar.bz2 could not be" in message
    assert list(tmp_path.iterdir()) == []


# Options.


@pytest.mark.parametrize("name", NAMES)
def test_options_that_do_not_fit_are_refused(name):
    message = refused(name)
    assert f"--task={name} needs --data_dir" in message
    assert tff_data.ORIGIN in message
    assert "--tff_data=synthetic" in message
    message = refused(name, tff_data="synthetic", data_dir="x")
    assert "--data_dir=x is not used with --tff_data=synthetic" in message
    message = refused(name, tff_data="synthetic", partition="iid")
    assert f"--partition=iid is not used with --task={name}" in message


def test_all_of_stackoverflow_is_not_tested_on():
    message = refused("tff_stackoverflow_word", data_dir="x")
    assert "needs --max_test_examples" in message


def test_too_many_held_out_clients_are_refused(emnist_dir):
    message = refused("tff_emnist", data_dir=emnist_dir, unseen_clients=6)
    assert "--unseen_clients=6" in message


# The whole road.


def check_run(path, name, *arguments):
    """Trains by script; returns the rows and the exported model's function."""
    done = run_script(
        "train.py",
        f"--task={name}",
        "--tff_data=synthetic",
        "--clients_per_round=2",
        f"--output_dir={path}",
        *arguments,
    )
    assert done.returncode == 0, done.stderr
    model = tf.saved_model.load(str(path / "saved_model"))
    return rows_of(path), model.signatures["serving_default"]


@pytest.mark.soak
def test_made_up_clients_learn_tags_and_the_model_takes_text(tmp_path):
    rows, serve = check_run(
        tmp_path / "run",
        "tff_stackoverflow_tag",
        "--client_learning_rate=100",
        "--total_rounds=20",
    )
    assert float(rows[-1]["eval_recall_at_5"]) > 0.6
    assert float(rows[-1]["eval_loss"]) < float(rows[0]["eval_loss"]) * 0.7
    task = synthetic("tff_stackoverflow_tag")
    clients = tff.simulation.datasets.stackoverflow.get_synthetic()
    texts, bags = [], []
    for client_id in clients.client_ids:
        bags.append(task.train.load(client_id).x)
        for each in clients.create_tf_dataset_for_client(client_id):
            texts.append(each["tokens"].numpy() + b" " + each["title"].numpy())
    given = serve(text=tf.constant(texts))["probabilities"]
    model = tf.keras.models.load_model(tmp_path / "run" / "saved_model")
    np.testing.assert_allclose(
        given, model.layers[-1](np.concatenate(bags)), rtol=1e-5
    )
    loss = tf.keras.losses.BinaryCrossentropy()(task.test.y, given)
    assert float(loss) == pytest.approx(float(rows[-1]["eval_loss"]), rel=1e-4)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "rate", "rounds"),
    [
        ("tff_emnist", 0.1, 15),
        ("tff_cifar100", 0.05, 4),
        ("tff_shakespeare", 1.0, 10),
        ("tff_stackoverflow_word", 1.0, 10),
    ],
)
def test_made_up_clients_learn(tmp_path, name, rate, rounds):
    rows, serve = check_run(
        tmp_path / "run",
        name,
        f"--client_learning_rate={rate}",
        f"--total_rounds={rounds}",
    )
    losses = [float(row["eval_loss"]) for row in rows]
    assert losses[-1] < losses[0]
    task = synthetic(name)
    logits = serve(**{task.input_name: tf.constant(task.test.x)})["logits"]
    loss = task.loss_fn()(task.test.y, logits)
    assert float(loss) == pytest.approx(losses[-1], rel=1e-4)
