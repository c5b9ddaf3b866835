"""Tasks on FEMNIST by writer: 300 train, 240 others are tested on."""

import functools

import numpy as np
import tensorflow as tf

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import femnist
from tff_pipeline.datasets.federation.augmentation import IMAGE
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import Split, split
from tff_pipeline.models import autoencoder, conv, linear
from tff_pipeline.objectives import outputs
from tff_pipeline.tasks.task import Task

_SHAPE = (28, 28, 1)
# The paper is white, 255; scaled, ink is 1 and paper 0.
_INK = {"scale": -1 / 255, "offset": 1.0}


def femnist_cnn(options: DataConfig, seed: int) -> Task:
    """Returns the task of recognising characters of 62 classes.

    The model is the CNN of Reddi et al. 2021, appendix C; 1,206,590 parameters.
    The data are those of `datasets.femnist`.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    model_fn = functools.partial(
        conv.conv_conv_pool,
        image_shape=_SHAPE,
        num_classes=femnist.CLASSES,
        **_INK,
    )
    data = _split("femnist_cnn", options, seed)
    return Task(
        "femnist_cnn", **vars(data), model_fn=model_fn, augmentations=IMAGE
    )


def cnn_without_dropout() -> tf.keras.Model:
    """Makes the model of `femnist_cnn` without dropout, for `--model_fn`."""
    return conv.conv_conv_pool(
        _SHAPE,
        femnist.CLASSES,
        _INK["scale"],
        _INK["offset"],
        dropout=(0.0, 0.0),
    )


def logistic_regression() -> tf.keras.Model:
    """Makes a logistic regression on the ink, for `--model_fn`.

    Karimireddy et al. 2020, "SCAFFOLD", have it on EMNIST; 48,670
    parameters.

    Returns:
      A model from uint8 [batch, 28, 28, 1] to logits, float32 [batch, 62].
    """
    return linear.on_pixels(_SHAPE, femnist.CLASSES, **_INK)


def femnist_autoencoder(options: DataConfig, seed: int) -> Task:
    """Returns the task of coding images as 30 numbers.

    The model is the autoencoder of Reddi et al. 2021, appendix C; 2,837,314
    parameters. The loss is the squared error a pixel, ink being 1 and paper 0.
    The data are those of `datasets.femnist`; their labels are not used.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "femnist_autoencoder"
    data = _split(name, options, seed, as_autoencoder=True)
    return Task(
        name,
        **vars(data),
        model_fn=functools.partial(
            autoencoder.bottleneck, image_shape=_SHAPE, **_INK
        ),
        loss_fn=tf.keras.losses.MeanSquaredError,
        metrics_fn=lambda: [
            tf.keras.metrics.MeanAbsoluteError(name="absolute_error")
        ],
        outputs_fn=outputs.value_outputs,
    )


def _split(
    name: str, options: DataConfig, seed: int, as_autoencoder: bool = False
) -> Split:
    """Returns the writers; for an autoencoder each image is its label."""
    data_dir = options.required_data_dir(
        f"the folder of FEMNIST's .npz files ({femnist.TRAIN} and its siblings)"
    )
    train, test, unseen = femnist.load(data_dir)
    examples, writers = test
    if options.partition == "natural":
        # `split` knows by their names that these writers never train.
        examples = Examples(
            np.concatenate([test.examples.x, unseen.examples.x]),
            np.concatenate([test.examples.y, unseen.examples.y]),
        )
        writers = np.concatenate([test.writers, unseen.writers])
    train_examples = train.examples
    if as_autoencoder:
        train_examples = _ink_as_labels(train_examples)
        examples = _ink_as_labels(examples)
    return split(
        train_examples,
        examples,
        options,
        seed,
        owners=train.writers,
        test_owners=writers,
    )


def _ink_as_labels(examples: Examples) -> Examples:
    """Returns the images with their ink, float32 [n, 784], as labels."""
    ink = examples.x.astype(np.float32) * np.float32(_INK["scale"])
    ink += np.float32(_INK["offset"])
    return Examples(examples.x, ink.reshape(len(examples), -1))
