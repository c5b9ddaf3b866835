"""Rotated MNIST: clients of four kinds, whose images are turned differently."""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import randomness
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import dense
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

TURNS = 4
# 60,000 images are 1,200 clients.
_EXAMPLES = 50


def rotated_mnist_mlp(options: DataConfig, seed: int) -> Task:
    """Returns the task of Ghosh et al. 2020 (IFCA); 159,010 parameters.

    Images are dealt to clients at random, 50 to each; those of client i are
    turned by 90 (i mod 4) degrees, counterclockwise. Test images are dealt and
    turned alike, so that each client has some. Every image is used once, in one
    of its four turns, where the paper uses it in each. The model has one hidden
    layer of 200.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    data_dir = options.required_data_dir(
        "the folder of MNIST's IDX files "
        "(train-images-idx3-ubyte.gz and its siblings)"
    )
    parts = mnist.load(data_dir)
    clients = -(-len(parts[0]) // _EXAMPLES)
    (train, owners), (test, test_owners) = (
        _dealt(part, clients, seed, key) for key, part in enumerate(parts)
    )
    data = split(
        train,
        test,
        options,
        seed,
        owners=_names(owners),
        test_owners=_names(test_owners),
    )
    return Task(
        "rotated_mnist_mlp",
        **vars(data),
        model_fn=functools.partial(
            dense.one_hidden_layer, (28, 28, 1), 1 / 255, 10
        ),
        classes=list("0123456789"),
    )


def turn_of(client_id: str) -> int:
    """Returns how many right angles a client's images are turned by.

    >>> turn_of("client_0006")
    2

    Args:
      client_id: The client's name.
    """
    return int(client_id.rpartition("_")[2]) % TURNS


def _dealt(
    examples: Examples, clients: int, seed: int, key: int
) -> tuple[Examples, Array]:
    """Deals images to clients and turns them.

    Args:
      examples: The images, which are square.
      clients: The number of clients.
      seed: The experiment's seed.
      key: Tells training images from test images.

    Returns:
      (the turned images, the number of the client of each).
    """
    draw = randomness.generator(seed, "rotated mnist", key)
    owners = draw.permutation(np.arange(len(examples)) % clients)
    x = examples.x.copy()
    for turn in range(1, TURNS):
        chosen = owners % TURNS == turn
        x[chosen] = np.rot90(x[chosen], turn, axes=(1, 2))
    return Examples(x, examples.y), owners


def _names(owners: Array) -> Array:
    """Returns clients' names, of equal length so that they sort by number."""
    return np.array([f"client_{owner:04d}" for owner in owners])
