"""MNIST as Karimireddy et al. 2022 spread it over clients."""

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness, registry
from tff_pipeline.config import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.datasets.federation.federated_data import InMemoryData
from tff_pipeline.tasks.mnist import bucketing_cnn
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[np.int64]

HONEST, HOSTILE = 20, 5
# The clients of experiment 1, and the size of its batches of test images.
LONG_TAIL_CLIENTS, _TEST_BATCH = 24, 128
# The ids of hostile clients, for --attack_clients.
ATTACKERS = ",".join(f"hostile_{i}" for i in range(HOSTILE))


@contextlib.contextmanager
def as_tasks() -> Iterator[None]:
    """Lets --task name the functions here, inside the block."""
    names = ("bucketing_mnist", "long_tail_mnist")
    registry.TASKS.update({name: f"{__name__}:{name}" for name in names})
    try:
        yield
    finally:
        for name in names:
            del registry.TASKS[name]


def bucketing_mnist(options: DataConfig, seed: int) -> Task:
    """Returns the task of the paper's experiments 2 to 4.

    The training images are sorted by label and cut into 20 equal parts, one for
    each honest client. Each hostile client has as many that are drawn from all.
    The network has 1,199,882 parameters; inputs are (x - .1307) / .3081.

    Args:
      options: `data_dir` holds MNIST's IDX files.
      seed: The experiment's seed.
    """
    train, test = mnist.load(options.required_data_dir("MNIST's IDX files"))
    parts = np.array_split(np.argsort(train.y, kind="stable"), HONEST)
    clients = {f"honest_{i:02d}": part for i, part in enumerate(parts)}
    draw = randomness.generator(seed, "hostile")
    for i in range(HOSTILE):
        drawn = draw.choice(len(train), len(parts[0]), replace=False)
        clients[f"hostile_{i}"] = drawn
    return Task(
        "bucketing_mnist", InMemoryData(train, clients), test, bucketing_cnn
    )


def long_tail_mnist(options: DataConfig, seed: int) -> Task:
    """Returns the task of the paper's experiment 1, not IID.

    Class i keeps the first .5^i of its examples. The training images, sorted by
    label, are cut into 24 equal parts, the last of which is filled up with the
    first examples. The test images are whole batches of 128 of those that are
    left, in order of their labels, as in the paper's code: 1,920 of 2,045, of
    the digits 0 to 3.

    Args:
      options: `data_dir` holds MNIST's IDX files.
      seed: Not used; nothing is drawn.
    """
    del seed
    train, test = mnist.load(options.required_data_dir("MNIST's IDX files"))
    order = _long_tail(train.y)
    size = -(-len(order) // LONG_TAIL_CLIENTS)
    parts = np.split(
        np.resize(order, size * LONG_TAIL_CLIENTS), LONG_TAIL_CLIENTS
    )
    clients = {f"client_{i:02d}": part for i, part in enumerate(parts)}
    tested = _long_tail(test.y)
    tested = tested[: len(tested) // _TEST_BATCH * _TEST_BATCH]
    return Task(
        "long_tail_mnist",
        InMemoryData(train, clients),
        test.take(tested),
        bucketing_cnn,
    )


def _long_tail(labels: Array) -> Array:
    """Returns the places of the first .5^i of each class i, class by class."""
    places = [np.flatnonzero(labels == i) for i in range(10)]
    return np.concatenate(
        [each[: int(len(each) * 0.5**i)] for i, each in enumerate(places)]
    )
