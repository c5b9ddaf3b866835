"""JSON as programs write it: LEAF, lists, lines, and names of clients."""

import collections
import gzip
import json

import numpy as np
import pytest

from tff_pipeline import errors, registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import (
    json_examples,
    json_files,
    sqlite,
    table_files,
)


def leaf(**counts):
    """LEAF's object of users with as many examples, x counting up."""
    users = {
        name: {
            "x": [[number, 0.5, 1, 0] for number in range(count)],
            "y": [number % 2 for number in range(count)],
        }
        for name, count in counts.items()
    }
    return {
        "users": list(users),
        "num_samples": [len(each["y"]) for each in users.values()],
        "hierarchies": ["play"] * len(users),
        "user_data": users,
    }


@pytest.fixture
def write(tmp_path):
    """Writes values of JSON, each to a file of a name; returns the folder."""

    def write(**files):
        for name, value in files.items():
            path = tmp_path / "in" / name.replace("__", "/")
            path = path.with_name(f"{path.name}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        return tmp_path / "in"

    return write


@pytest.fixture
def lines(tmp_path):
    """Writes JSON lines, an object for each client given."""

    def write(*clients, **other):
        path = tmp_path / "a.jsonl"
        objects = [
            {"client_id": client, "x": [number, 2], "y": number % 2, **other}
            for number, client in enumerate(clients)
        ]
        path.write_text("\n".join(map(json.dumps, objects)))
        return path

    return write


def counts(path):
    """The number of examples by split and client."""
    rows = json_examples.read(str(path))
    return dict(collections.Counter((r.split, r.client_id) for r in rows))


def training_data(path, client):
    """The examples that a client of an SQLite file trains on."""
    return sqlite.SqliteData(
        sqlite.Database(path),
        [client],
        ["train"],
        chosen=lambda _, count: np.arange(count),
        labels=lambda y: y,
    ).load(client)


def refused(path, *words):
    with pytest.raises(errors.PipelineError) as caught:
        list(json_examples.read(str(path)))
    for word in words:
        assert word in str(caught.value)


def test_leaf_folders_are_splits_and_new_users_unseen(write, tmp_path):
    folder = write(
        train__all_data_niid_0_keep_0_train_9=leaf(u1=4, u2=3),
        test__all_data_niid_0_keep_0_test_9=leaf(u1=2, u3=2),
    )
    said, output = [], str(tmp_path / "o.sqlite")
    found = prepare_data.write(str(folder), output, {}, say=said.append)
    assert found == (11, 3)
    assert said == ["Examples by split: 4 test, 7 train."]
    config = DataConfig(task="sqlite", data_dir=output)
    task = registry.load("sqlite", registry.TASKS)(config, 0)
    assert task.train.client_ids == ("u1", "u2")
    assert task.train.load("u1").x[:, 0].tolist() == [0, 1, 2, 3]
    assert task.train.load("u1").y.tolist() == [0, 1, 0, 1]
    assert task.test_clients.client_ids == ("u1",)
    assert task.unseen.client_ids == ("u3",)
    assert len(task.test) == 2


def test_a_leaf_file_alone_is_to_train_on(write):
    path = write(test=leaf(u1=2, u2=1)) / "test.json"
    assert counts(path) == {("train", "u1"): 2, ("train", "u2"): 1}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("all_data_niid_05_keep_0_train_9", "x_niid_05_keep_0_test_9"), 2),
        (("train", "test"), 2),
        (("data-train", "data-test"), 2),
        (("part_0", "part_1"), 1),
        (("all_data__all_data_0", "all_data__all_data_1"), 1),
        # One name alone says nothing.
        (("contest", "latest"), 1),
        (("train_0", "train_1"), 1),
    ],
)
def test_names_of_files_say_the_split(write, names, splits):
    first, second = names
    folder = write(**{first: leaf(a=1), second: leaf(b=2)})
    other = "test" if splits == 2 else "train"
    assert counts(folder) == {("train", "a"): 1, (other, "b"): 2}


def test_a_user_in_two_files_is_not_read_twice(write):
    folder = write(one=leaf(secret=1), two=leaf(b=1, secret=2))
    refused(folder, "two.json: user 2 is in ", "one.json too", "take one of")
    with pytest.raises(errors.DataError) as caught:
        counts(folder)
    assert "secret" not in str(caught.value)


def test_vectors_are_images_of_a_size_that_is_given(write, tmp_path):
    folder = write(one=leaf(u1=2, u2=2))
    output = str(tmp_path / "o.sqlite")
    prepare_data.write(str(folder), output, {}, [2, 2])
    data = training_data(output, "u1")
    assert data.x.tolist() == [
        [[0, 0.5], [1, 0]],
        [[1, 0.5], [1, 0]],
    ]
    prepare_data.write(str(folder), output, {}, [1, 2])
    data = training_data(output, "u1")
    assert data.x.shape == (2, 1, 2, 2)
    with pytest.raises(errors.ConfigError, match="--image_size=3x1 does not"):
        prepare_data.write(str(folder), output, {}, [3, 1])


def test_text_of_leaf_is_refused_without_its_words(write):
    value = leaf(u1=2)
    value["user_data"]["u1"]["x"] = [["1", "Mon", "great day"], ["2", "", "x"]]
    refused(
        write(sent=value), "user 1 has an x that is text", "counts of words"
    )
    value["user_data"]["u1"]["x"] = ["0001.jpg", "0002.jpg"]
    refused(write(sent=value), "CLIENT/CLASS")


def damaged(name):
    value = leaf(u1=2, u2=1)
    if name == "cut":
        return json.dumps(value)[:-20]
    if name == "counts":
        value["num_samples"][0] = 3
    elif name == "fewer counts":
        del value["num_samples"][0]
    elif name == "a user more":
        value["users"].append("u3")
    elif name == "a user twice":
        value["users"][1] = "u1"
    elif name == "another user":
        value["users"][1] = "u3"
    elif name == "no x":
        del value["user_data"]["u2"]["x"]
    elif name == "no label":
        value["user_data"]["u2"]["y"] = [None]
    elif name == "a list":
        value["user_data"] = []
    elif name == "ragged":
        value["user_data"]["u1"]["x"][0] = [1]
    elif name == "null":
        value["users"] = [None, "u1"]
    return json.dumps(value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cut", "is not JSON"),
        ("counts", 'user 1 has 2 x and 2 y ("num_samples" says 3)'),
        ("fewer counts", 'no number in "num_samples" for each user'),
        ("a user more", '3 names in "users" (3 in all), but 2 users'),
        ("a user twice", '1 names in "users" (2 in all)'),
        ("another user", 'user 2 is in "users" but not in "user_data"'),
        ("no x", "user 2 has no lists x and y"),
        ("no label", "user 2, example 1, has a y that is null"),
        ("a list", '"user_data" that is no object'),
        ("ragged", "user 1 has an x that is lists of different lengths"),
        ("null", "user 1 has a client that is null"),
    ],
)
def test_damaged_leaf_files_are_refused(tmp_path, name, words):
    path = tmp_path / "leaf.json"
    path.write_text(damaged(name))
    refused(path, str(path), words)


def test_one_and_one_point_zero_are_one_client(lines):
    found = counts(lines(1, 1.0, "1", " 1 ", 2.0, 10**18, "a"))
    assert {client for _, client in found} == {"1", "2", str(10**18), "a"}
    assert found["train", "1"] == 4


@pytest.mark.parametrize(
    ("client", "kind"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "a fraction"),
        (1e300, "a fraction, or too large"),
        (float("nan"), "a fraction"),
        ("  ", "empty"),
        ([1], "a list"),
    ],
)
def test_other_clients_are_refused_with_their_line(lines, client, kind):
    path = lines("a", client)
    # Blank lines count.
    path.write_text("\n" + path.read_text())
    refused(path, f"{path}: line 3 has a client that is {kind}")


def test_splits_of_lines_are_named_as_people_name_them(lines):
    assert counts(lines("a", split="Val")) == {("validation", "a"): 1}
    refused(lines("a", split="secret"), "line 1 has a split", "validation")
    refused(lines("a", split=None), "line 1 has a split")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([True, False], ["false", "true"]),
        ([1, 0.0, 2], ["0", "1", "2"]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_labels_have_the_names_that_they_are_written_by(
    tmp_path, values, names
):
    path, output = tmp_path / "a.jsonl", str(tmp_path / "o.sqlite")
    path.write_text(
        "\n".join(
            json.dumps({"client_id": "a", "x": 1, "y": value})
            for value in values
        )
    )
    prepare_data.write(str(path), output, {})
    assert sqlite.Database(output).class_names == names


@pytest.mark.parametrize(
    "values", [[True, 1], ["1", 1], [[1], [1, 2]], [{}], [["a"], "a"]]
)
def test_labels_of_several_kinds_are_refused(tmp_path, values):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join(
            json.dumps({"client_id": "a", "x": 1, "y": value})
            for value in values
        )
    )
    with pytest.raises(errors.DataError, match="the y of all examples must be"):
        prepare_data.write(str(path), str(tmp_path / "o.sqlite"), {})
    path.write_text('\n{"client_id": "a", "x": 1, "y": null}\n')
    refused(path, f"{path}: line 2 has a y that is null")


@pytest.mark.parametrize("form", ["lines", "list", "mark", "gz", "spark"])
def test_objects_are_read_in_lines_and_in_lists(tmp_path, form):
    objects = [
        {"client_id": client, "x": [number, None], "y": 0}
        for number, client in enumerate("aab")
    ]
    text = "\n".join(map(json.dumps, objects))
    path = tmp_path / "part-0.json"
    if form == "list":
        path.write_text(json.dumps(objects))
    elif form == "mark":
        path = tmp_path / "a.jsonl"
        path.write_text(f"\ufeff{text}")
    elif form == "gz":
        path = tmp_path / "a.json.gz"
        path.write_bytes(gzip.compress(text.encode()))
    elif form == "spark":
        path.write_text(text)
        (tmp_path / "_SUCCESS").touch()
        path = tmp_path
    else:
        path.write_text(text)
    assert counts(path) == {("train", "a"): 2, ("train", "b"): 1}
    rows = [row.x for row in json_examples.read(str(path))]
    np.testing.assert_array_equal(rows[2], np.float32([2, np.nan]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "holds no examples"),
        ("3", "holds no examples"),
        ('{"a": 1}', "has no 'client_id'"),
        ("[1, 2]", "object 1 has no 'client_id'"),
        ('{"client_id": 1, "x": "a secret", "y": 1}', "x that is text"),
        ('{"client_id": 1, "x": {"a": 1}, "y": 1}', "x that is an object"),
        ('{"client_id": 1, "x": [], "y": 1}', "x that holds nothing"),
        ('{"client_id": 1, "x": [1e999], "y": 1}', "is infinite"),
        ("[" * 100_000, "is not JSON"),
        ('[{"client_id": "\\ud800", "x": 1, "y": 1}]', "half a character"),
        ("", "is not JSON"),
    ],
)
def test_what_holds_no_examples_is_said(tmp_path, text, words):
    path = tmp_path / "a.json"
    path.write_text(text)
    refused(path, str(path), words)


def test_json_beside_a_table_describes_it(tmp_path):
    (tmp_path / "info.json").write_text("{}")
    assert json_files.find(str(tmp_path))
    with pytest.raises(errors.DataError, match="prepare-data --input="):
        table_files.find(str(tmp_path))
    (tmp_path / "t.csv").write_text("who,x,y\na,1,0\nb,2,1\n")
    assert len(table_files.find(str(tmp_path))) == 1
    options = {"client_column": "who", "label_column": "y"}
    output = str(tmp_path / "o.sqlite")
    assert prepare_data.write(str(tmp_path), output, options) == (2, 2)
