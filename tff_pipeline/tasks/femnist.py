"""FEMNIST by writer: 300 who train, and 240 others to test on."""

import functools

import numpy as np
import tensorflow as tf

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import femnist
from tff_pipeline.datasets.federation.augmentation import IMAGE
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import Split, split
from tff_pipeline.models import autoencoder, conv
from tff_pipeline.objectives import outputs
from tff_pipeline.tasks.task import Task

_SHAPE = (28, 28, 1)
# The paper is white, 255: so that ink is 1 and paper 0.
_INK = {"scale": -1 / 255, "offset": 1.0}


def femnist_cnn(options: DataConfig, seed: int) -> Task:
    """Characters of 62 classes; the CNN of Reddi et al. 2021, appendix C.

    1,206,590 parameters. Data: `datasets.femnist`.
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
    """The model of `femnist_cnn` without dropout, for `--model_fn`."""
    return conv.conv_conv_pool(
        _SHAPE,
        femnist.CLASSES,
        _INK["scale"],
        _INK["offset"],
        dropout=(0.0, 0.0),
    )


def femnist_autoencoder(options: DataConfig, seed: int) -> Task:
    """The images through 30 numbers and back; Reddi et al. 2021, appendix C.

    The loss is the squared error a pixel, ink being 1 and paper 0; 2,837,314
    parameters. Data: `datasets.femnist`; the labels are not used.
    """
    name = "femnist_autoencoder"
    data = _split(name, options, seed, of_images=True)
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
    name: str, options: DataConfig, seed: int, of_images: bool = False
) -> Split:
    """The writers; with `of_images` each image is its own label."""
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
    if of_images:
        train_examples = _ink_as_labels(train_examples)
        examples = _ink_as_labels(examples)
    return split(
        train_examples, examples, options, seed, train.writers, writers
    )


def _ink_as_labels(examples: Examples) -> Examples:
    """Each image with its pixels, float32 [784], as what is to come out."""
    ink = examples.x.astype(np.float32) * np.float32(_INK["scale"])
    ink += np.float32(_INK["offset"])
    return Examples(examples.x, ink.reshape(len(examples), -1))
