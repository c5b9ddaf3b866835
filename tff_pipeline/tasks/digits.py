"""Tasks on 8x8 handwritten digits: scikit-learn's, nothing to download."""

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
    """Returns McMahan's 2NN for 8x8 digits.

    Two ReLU layers of 200, as in McMahan et al. 2017, section 3; 55,210
    parameters. The digits are those of scikit-learn (Alpaydin and Kaynak 1998);
    they belong to no one, so clients are made by `--partition`.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
    model_fn = functools.partial(dense.two_hidden_layers, **_IMAGE)
    return _task("digits_2nn", model_fn, options, seed)


def digits_cnn(options: DataConfig, seed: int) -> Task:
    """Returns a small CNN for 8x8 digits.

    16 and 32 filters of 3x3, a hidden layer of 64; 13,706 parameters. The
    digits are those of `digits_2nn`.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
    """
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
