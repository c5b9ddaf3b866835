"""Rotated MNIST: every image once, turned as its client's are."""

import numpy as np
import pytest

from tests.testing.data import data_folder
from tff_pipeline import errors, registry
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.tasks import rotated_mnist


@pytest.fixture(scope="module")
def folder():
    return str(data_folder("mnist"))


def load(seed=0, **options):
    options = DataConfig(task="rotated_mnist_mlp", **options)
    return registry.load(options.task, registry.TASKS)(options, seed)


@pytest.fixture(scope="module")
def task(folder):
    return load(data_dir=folder)


@pytest.fixture(scope="module")
def official(folder):
    return mnist.load(folder)


def in_order(images):
    """Images as rows of bytes, sorted."""
    return np.sort([each.tobytes() for each in images])


def upright(clients):
    """All clients' images, turned back."""
    return np.concatenate(
        [
            np.rot90(
                clients.load(name).x,
                -rotated_mnist.turn_of(name),
                axes=(1, 2),
            )
            for name in clients.client_ids
        ]
    )


def test_clients_are_as_many_and_as_large_as_they_should_be(task):
    assert len(task.train) == len(task.test_clients) == 1200
    sizes = {task.train.size(name) for name in task.train.client_ids}
    assert sizes == {50}
    assert len(task.test) == 10000
    assert task.build_model().count_params() == 159010
    turns = [rotated_mnist.turn_of(name) for name in task.train.client_ids]
    assert np.bincount(turns).tolist() == [300, 300, 300, 300]


def test_turned_back_it_is_mnist(task, official):
    train, test = official
    np.testing.assert_array_equal(
        in_order(upright(task.train)), in_order(train.x)
    )
    np.testing.assert_array_equal(
        in_order(upright(task.test_clients)), in_order(test.x)
    )


def test_the_central_test_set_is_of_all_turns(task, official):
    """The images stand in MNIST's order, so each can be told by its place."""
    _, test = official
    np.testing.assert_array_equal(task.test.y, test.y)
    for turn in range(4):
        turned = np.rot90(test.x, turn, axes=(1, 2))
        count = (task.test.x == turned).all(axis=(1, 2, 3)).sum()
        # Test images are dealt evenly; hardly any is its own turned image.
        assert 2490 <= count <= 2510


def test_another_seed_deals_otherwise(task, folder):
    other = load(seed=1, data_dir=folder)
    name = task.train.client_ids[0]
    assert (task.train.load(name).x != other.train.load(name).x).any()
    again = load(seed=0, data_dir=folder)
    np.testing.assert_array_equal(
        task.train.load(name).x, again.train.load(name).x
    )


def test_it_says_which_files_it_needs():
    with pytest.raises(errors.ConfigError, match="needs --data_dir"):
        load()
