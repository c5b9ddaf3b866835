"""Tasks on MNIST: artificial clients, or its writers."""

import functools

import tensorflow as tf

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import mnist
from tff_pipeline.datasets.federation.augmentation import IMAGE
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import conv, dense
from tff_pipeline.tasks.task import ModelFn, Task

_IMAGE = {"image_shape": (28, 28, 1), "scale": 1 / 255, "num_classes": 10}


def mnist_2nn(options: DataConfig, seed: int) -> Task:
    """Returns the 2NN of McMahan et al. 2017, section 3; 199,210 parameters.

    Clients are artificial, or with `--partition=natural` the writers.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    model_fn = functools.partial(dense.two_hidden_layers, **_IMAGE)
    return _task("mnist_2nn", model_fn, options, seed)


def mnist_cnn(options: DataConfig, seed: int) -> Task:
    """Returns the CNN of McMahan et al. 2017, section 3; 1,663,370 parameters.

    Clients are artificial, or with `--partition=natural` the writers.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    model_fn = functools.partial(conv.two_convolutions, **_IMAGE)
    return _task("mnist_cnn", model_fn, options, seed)


def lenet() -> tf.keras.Model:
    """Makes a LeNet for MNIST, for `--model_fn`; 44,426 parameters.

    Returns:
      A model from uint8 [batch, 28, 28, 1] to logits, float32 [batch, 10].
    """
    return conv.lenet((28, 28, 1), 1 / 255, 10)


def bucketing_cnn() -> tf.keras.Model:
    """Makes the CNN of Karimireddy et al. 2022, for `--model_fn`.

    Pixels are scaled to mean 0 and standard deviation 1 first, and the first
    dropout is of whole feature maps; 1,199,882 parameters.

    Returns:
      A model from uint8 [batch, 28, 28, 1] to logits, float32 [batch, 10].
    """
    return conv.conv_conv_pool(
        (28, 28, 1),
        10,
        scale=1 / 255 / 0.3081,
        offset=-0.1307 / 0.3081,
        whole_maps=True,
    )


def _task(name: str, model_fn: ModelFn, options: DataConfig, seed: int) -> Task:
    data_dir = options.required_data_dir(
        "the folder of MNIST's IDX files "
        "(train-images-idx3-ubyte.gz and its siblings)"
    )
    train, test = mnist.load(data_dir)
    writers, test_writers = None, None
    if options.partition == "natural":
        # No writer of the test images wrote a training image.
        writers, test_writers = mnist.load_writers(
            data_dir, len(train), len(test)
        )
    data = split(
        train, test, options, seed, owners=writers, test_owners=test_writers
    )
    return Task(
        name,
        **vars(data),
        model_fn=model_fn,
        augmentations=IMAGE,
        classes=list("0123456789"),
    )
