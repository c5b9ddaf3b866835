"""Handwritten digits of 8x8 pixels: scikit-learn's, nothing to download."""

import functools

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import digits
from tff_pipeline.datasets.federation.augmentation import IMAGE
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import conv, dense
from tff_pipeline.tasks.task import ModelFn, Task

_IMAGE = {"image_shape": (8, 8, 1), "scale": 1 / 16, "num_classes": 10}


def digits_2nn(options: DataConfig, seed: int) -> Task:
    """McMahan's 2NN (two ReLU layers of 200) for 8x8 digits."""
    model_fn = functools.partial(dense.two_hidden_layers, **_IMAGE)
    return _task("digits_2nn", model_fn, options, seed)


def digits_cnn(options: DataConfig, seed: int) -> Task:
    """A small CNN: 16 and 32 filters of 3x3, a hidden layer of 64."""
    model_fn = functools.partial(
        conv.two_convolutions,
        filters=(16, 32),
        kernel_size=3,
        hidden=64,
        **_IMAGE,
    )
    return _task("digits_cnn", model_fn, options, seed)


def _task(name: str, model_fn: ModelFn, options: DataConfig, seed: int) -> Task:
    if options.data_dir is not None:
        raise errors.ConfigError(
            f"--data_dir={options.data_dir} is not used with --task={name}, "
            "whose data come with scikit-learn; leave it out."
        )
    train, test = digits.load()
    data = split(train, test, options, seed)
    return Task(
        name,
        **vars(data),
        model_fn=model_fn,
        augmentations=IMAGE,
        classes=list("0123456789"),
    )
