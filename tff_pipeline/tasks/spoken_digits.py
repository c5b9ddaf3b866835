"""Spoken digits: who says them is the client."""

import functools

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import spoken_digits
from tff_pipeline.datasets.federation.augmentation import AUDIO
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import audio
from tff_pipeline.tasks.task import Task


def spoken_digits_cnn(options: DataConfig, seed: int) -> Task:
    """A CNN on log-mel spectrograms of FSDD's six speakers.

    Jackson et al., Free Spoken Digit Dataset: 3,000 recordings of a second at
    8 kHz, of which 2,700 train. The spectrogram is part of the model.
    """
    data_dir = options.required_data_dir(
        "the folder of fsdd.zip or of recordings such as 7_jackson_32.wav"
    )
    train, test, owners, test_owners = spoken_digits.load(data_dir)
    data = split(train, test, options, seed, owners, test_owners)
    return Task(
        "spoken_digits_cnn",
        **vars(data),
        model_fn=functools.partial(
            audio.log_mel_cnn,
            samples=spoken_digits.RATE,
            rate=spoken_digits.RATE,
            num_classes=10,
        ),
        augmentations=AUDIO,
        input_name="audio",
        classes=list("0123456789"),
    )
