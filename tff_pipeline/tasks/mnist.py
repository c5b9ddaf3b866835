"""MNIST: artificial clients as in McMahan et al. 2017, or its writers."""

import functools

from tff_pipeline import errors
from tff_pipeline.config import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.datasets.partition import partition
from tff_pipeline.models import conv, dense
from tff_pipeline.tasks.task import ModelFn, Task

_IMAGE = {"image_shape": (28, 28, 1), "scale": 1 / 255, "num_classes": 10}


def mnist_2nn(options: DataConfig, seed: int) -> Task:
    """The 2NN of McMahan et al. 2017, section 3; 199,210 parameters."""
    model_fn = functools.partial(dense.two_hidden_layers, **_IMAGE)
    return _task("mnist_2nn", model_fn, options, seed)


def mnist_cnn(options: DataConfig, seed: int) -> Task:
    """The CNN of McMahan et al. 2017, section 3; 1,663,370 parameters."""
    model_fn = functools.partial(conv.two_convolutions, **_IMAGE)
    return _task("mnist_cnn", model_fn, options, seed)


def _task(name: str, model_fn: ModelFn, options: DataConfig, seed: int) -> Task:
    if options.data_dir is None:
        raise errors.ConfigError(
            f"--task={name} needs --data_dir, the folder of MNIST's IDX files "
            "(train-images-idx3-ubyte.gz and its siblings)."
        )
    train, test = mnist.load(options.data_dir)
    if options.partition != "natural":
        return Task(name, partition(train, options, seed), test, model_fn)
    writers, test_writers = mnist.load_writers(
        options.data_dir, len(train), len(test)
    )
    return Task(
        name,
        partition(train, options, seed, owners=writers),
        test,
        model_fn,
        # No writer of the test images wrote a training image.
        unseen=partition(test, options, seed, owners=test_writers),
    )
