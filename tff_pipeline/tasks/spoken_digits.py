"""The task of spoken digits, each speaker a client."""

import functools

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import spoken_digits
from tff_pipeline.datasets.federation.augmentation import AUDIO
from tff_pipeline.datasets.federation.split import split
from tff_pipeline.models import audio
from tff_pipeline.tasks.task import Task


def spoken_digits_cnn(options: DataConfig, seed: int) -> Task:
    """Returns the task of recognising spoken digits by a CNN.

    Jackson et al., Free Spoken Digit Dataset: 3,000 recordings of a second at 8
    kHz by six speakers, of which 2,700 train. The log-mel spectrogram is part
    of the model (`audio.log_mel_cnn`).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    data_dir = options.required_data_dir(
        "the folder of fsdd.zip or of recordings such as 7_jackson_32.wav"
    )
    train, test, owners, test_owners = spoken_digits.load(data_dir)
    data = split(
        train, test, options, seed, owners=owners, test_owners=test_owners
    )
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
