"""What clients hold, counted, printed and drawn."""

import numpy as np
import pytest
from PIL import Image

from tests.testing.scripts import run_script
from tff_pipeline.datasets.federation import census
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.reporting import partition_picture


def clients_of(labels, num_clients):
    """Labels dealt to clients in turn."""
    examples = Examples(np.arange(len(labels)), labels)
    deal = {
        f"client_{i}": np.arange(i, len(labels), num_clients)
        for i in range(num_clients)
    }
    return InMemoryData(examples, deal)


def test_a_census_counts_every_label_of_every_client():
    labels = np.array([7, 2, 7, 7, 9], np.int32)
    found = census.count(clients_of(labels, 2))
    assert list(found.client_ids) == ["client_0", "client_1"]
    assert found.sizes.tolist() == [3, 2]
    assert found.labels.tolist() == [2, 7, 9]
    assert found.counts.toarray().tolist() == [[0, 2, 1], [1, 1, 0]]
    names, counts = found.client_labels(0)
    assert (names.tolist(), counts.tolist()) == ([7, 9], [2, 1])


def test_a_census_counts_every_place_of_a_sequence():
    labels = np.array([[1, 1, 0], [5, 1, 0]], np.int64)
    found = census.count(clients_of(labels, 1))
    assert found.sizes.tolist() == [2]
    assert found.labels.tolist() == [0, 1, 5]
    assert found.counts.toarray().tolist() == [[2, 3, 1]]


def test_a_census_of_numbers_counts_examples_only():
    found = census.count(clients_of(np.zeros([5, 3], np.float32), 2))
    assert found.sizes.tolist() == [3, 2]
    assert found.labels is None


def drawn(labels, num_clients, path):
    found = census.count(clients_of(labels, num_clients))
    partition_picture.draw(found, str(path), "a title")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1560, 600)
        return np.asarray(picture.convert("RGB"))


def count_of(picture, colour):
    return (picture == colour).all(axis=-1).sum()


def test_classes_are_bars_as_high_as_their_number(tmp_path):
    # Matplotlib's first two colours.
    first, second = (31, 119, 180), (255, 127, 14)
    labels = np.repeat(np.array([0, 1], np.int32), [100, 300])
    picture = drawn(labels, 4, tmp_path / "a.png")
    bars = count_of(picture, second) / count_of(picture, first)
    # But for the legend, which has an equal patch of each.
    assert bars == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("clients", [1, 40, 300])
@pytest.mark.parametrize("kind", ["few", "many", "numbers"])
def test_every_kind_of_data_makes_a_picture(clients, kind, tmp_path):
    draw = np.random.default_rng(0)
    labels = {
        "few": draw.integers(0, 3, 900),
        "many": draw.integers(0, 500, [900, 4]),
        "numbers": draw.normal(size=900),
    }[kind]
    picture = drawn(labels, clients, tmp_path / "new" / "a.png")
    assert picture.std() > 5


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """What the script says of digits, by a flagfile of train.py."""
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "train.flags").write_text(
        "# As for training.\n--task=digits_2nn\n--partition=label_k\n"
        "--num_clients=7\n--labels_per_client=3\n--total_rounds=9\n"
    )
    done = run_script(
        "inspect_data.py", "--flagfile=train.flags", "--seed=3", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done, folder


def test_the_script_says_what_clients_hold(inspected):
    done, folder = inspected
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "digits_2nn, partition label_k, seed 3"
    (train,) = [line for line in lines if line.startswith("training clients")]
    assert train.split()[2:4] == ["7", "1,437"]
    (test,) = [line for line in lines if line.startswith("central test set")]
    assert test.split()[-1] == "360"
    start = next(i for i, line in enumerate(lines) if "share" in line) + 1
    table = [line.split() for line in lines[start : start + 10]]
    assert [int(row[0]) for row in table] == list(range(10))
    assert sum(int(row[1]) for row in table) == 1437
    # Three labels each of seven clients.
    assert sum(int(row[3]) for row in table) == 21
    clients = [line.split() for line in lines if line.startswith("  client_")]
    assert [row[0] for row in clients] == [f"client_{i}" for i in range(5)]
    for _, *pairs in clients:
        assert len(pairs) == 3
    assert [path.name for path in folder.glob("*.png")] == ["partition.png"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--output=table.csv"], ["--output=table.csv", ".png"]),
        (["--partition=idd"], ["--partition=idd", "label_k"]),
        (["--num_clients=0"], ["--num_clients=0", "at least 1"]),
        (["--seed=-1"], ["--seed=-1", "whole number"]),
    ],
)
def test_a_mistake_is_one_sentence(flags, words, tmp_path):
    done = run_script("inspect_data.py", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_shows_what_makes_a_difference():
    done = run_script("inspect_data.py", "--help")
    assert done.returncode == 0
    for flag in ("--task=", "--partition", "--output=partition.png", "--seed"):
        assert flag in done.stdout
    assert "--total_rounds" not in done.stdout
