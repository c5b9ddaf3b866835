"""MNIST of honest and hostile clients, as Karimireddy et al. 2022 have it."""

import numpy as np

from tff_pipeline import randomness
from tff_pipeline.config import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.datasets.federation.federated_data import InMemoryData
from tff_pipeline.tasks.mnist import bucketing_cnn
from tff_pipeline.tasks.task import Task

HONEST, HOSTILE = 20, 5
# The ids of hostile clients, for --attack_clients.
ATTACKERS = ",".join(f"hostile_{i}" for i in range(HOSTILE))


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
