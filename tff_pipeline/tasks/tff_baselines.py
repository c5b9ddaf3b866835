"""The tasks of `tff.simulation.baselines`, on TFF's own clients.

Each takes TFF's files from `--data_dir`, where they are fetched once, or with
`--tff_data=synthetic` the few made-up clients that TFF has for trying: these
are tested on what they train on. A client is read when it is sampled. With
`--max_test_examples` the test set is at most so many examples of clients that
are drawn, and these clients are the ones that are evaluated one by one.
"""

import functools
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import sequences, tff_data
from tff_pipeline.datasets.federation.augmentation import IMAGE
from tff_pipeline.datasets.federation.client_data import single_batch
from tff_pipeline.models import conv, recurrent, residual
from tff_pipeline.objectives import sequence
from tff_pipeline.runtime import compat
from tff_pipeline.tasks import tff_clients
from tff_pipeline.tasks.task import Task

_CHARACTERS = 80
_WORDS = 20
# Padding, those of TFF's alphabet, unknown, begin and end.
_CHARACTER_IDS = tff.simulation.baselines.shakespeare.VOCAB_LENGTH
_Raw = Mapping[str, tf.Tensor]


def tff_emnist(options: DataConfig, seed: int) -> Task:
    """Returns the task of characters of 62 classes by writer.

    The model is the CNN with dropout of Reddi et al. 2021, appendix C,
    1,206,590 parameters, on pixels as TFF has them: float32, ink 0 and paper 1.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """

    def encode(raw: _Raw) -> tuple[tf.Tensor, tf.Tensor]:
        return raw["pixels"][..., tf.newaxis], raw["label"]

    name = "tff_emnist"
    folder = tff_clients.data_folder(name, options, "emnist_all.sqlite")
    return Task(
        name,
        **vars(
            tff_clients.split(
                name, options, seed, tff_data.emnist(folder), encode
            )
        ),
        model_fn=functools.partial(
            conv.conv_conv_pool,
            image_shape=(28, 28, 1),
            num_classes=62,
            dtype="float32",
        ),
        augmentations=IMAGE,
    )


def tff_cifar100(options: DataConfig, seed: int) -> Task:
    """Returns the task of CIFAR-100 by Pachinko allocation.

    The model is TFF's ResNet-18 (Reddi et al. 2021, appendix C), 11,227,812
    parameters; cropping and standardizing, which TFF does to the data, are in
    the model.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """

    def encode(raw: _Raw) -> tuple[tf.Tensor, tf.Tensor]:
        return raw["image"], tf.cast(raw["label"], tf.int32)

    name = "tff_cifar100"
    folder = tff_clients.data_folder(name, options, "cifar100.sqlite")
    return Task(
        name,
        **vars(
            tff_clients.split(
                name, options, seed, tff_data.cifar100(folder), encode
            )
        ),
        model_fn=residual.cifar_resnet18,
        augmentations=IMAGE,
    )


def tff_shakespeare(options: DataConfig, seed: int) -> Task:
    """Returns the task of the next character of a role's lines.

    TFF's alphabet of 90 ids and windows of 80; two LSTMs, 820,522 parameters
    (Reddi et al. 2021, appendix C).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "tff_shakespeare"
    folder = tff_clients.data_folder(name, options, "shakespeare.sqlite")
    to_ids = compat.baseline_characters(_CHARACTERS + 1)

    def encode(raw: _Raw) -> tuple[tf.Tensor, tf.Tensor]:
        ids = tf.data.Dataset.from_tensor_slices(raw).map(to_ids).unbatch()
        return _shifted(ids.batch(_CHARACTERS + 1), _CHARACTERS + 1)

    parts = tff_data.shakespeare(folder)
    return Task(
        name,
        **vars(tff_clients.split(name, options, seed, parts, encode)),
        model_fn=functools.partial(recurrent.two_lstms, _CHARACTER_IDS),
        loss_fn=sequence.TokenCrossEntropy,
        padding_label=sequences.PADDING,
        metrics_fn=lambda: [sequence.TokenAccuracy()],
        input_name="tokens",
    )


def tff_stackoverflow_word(options: DataConfig, seed: int) -> Task:
    """Returns the task of the next word of a user's posts.

    The first 20 words of a sentence, 10,004 ids; an LSTM of 670, 4,050,748
    parameters (Reddi et al. 2021, appendix C). "accuracy" counts unknown words
    and ends; "word_accuracy", which Reddi et al. report, does not.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "tff_stackoverflow_word"
    folder = tff_clients.data_folder(
        name, options, "stackoverflow.sqlite", too_many_to_test=True
    )
    words = tff_data.stackoverflow_words(folder)
    to_ids = compat.baseline_words(words, _WORDS)
    unknown, end = len(words) + 1, len(words) + 3

    def encode(raw: _Raw) -> tuple[tf.Tensor, tf.Tensor]:
        ids = tf.data.Dataset.from_tensor_slices(raw).map(to_ids)
        return _shifted(ids, _WORDS + 1)

    parts = tff_data.stackoverflow(folder)
    return Task(
        name,
        **vars(tff_clients.split(name, options, seed, parts, encode)),
        model_fn=recurrent.next_word,
        loss_fn=sequence.TokenCrossEntropy,
        padding_label=sequences.PADDING,
        metrics_fn=lambda: [
            sequence.TokenAccuracy(),
            sequence.TokenAccuracy("word_accuracy", left_out=(0, unknown, end)),
        ],
        input_name="tokens",
    )


def tff_stackoverflow_tag(options: DataConfig, seed: int) -> Task:
    """Returns the task of the tags of a user's posts.

    Logistic regression of 500 tags on a bag of 10,000 words, 5,000,500
    parameters (Reddi et al. 2021, appendix C). The exported model takes text:
    words with spaces between them. The loss is a mean over tags and posts,
    where TFF adds the posts of a batch up: its learning rates count a batch's
    size times as much here.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "tff_stackoverflow_tag"
    folder = tff_clients.data_folder(
        name, options, "stackoverflow.sqlite", too_many_to_test=True
    )
    words = tff_data.stackoverflow_words(folder)
    tags = tff_data.stackoverflow_tags(folder)
    to_bags = compat.baseline_tags(words, tags)

    def encode(raw: _Raw) -> tuple[tf.Tensor, tf.Tensor]:
        bags = tf.data.Dataset.from_tensor_slices(raw).map(to_bags)
        return single_batch(bags)

    def model_fn() -> tf.keras.Model:
        return tf.keras.Sequential(
            [
                tf.keras.Input([len(words)], name="words"),
                tf.keras.layers.Dense(len(tags), activation="sigmoid"),
            ]
        )

    parts = tff_data.stackoverflow(folder)
    return Task(
        name,
        **vars(tff_clients.split(name, options, seed, parts, encode)),
        model_fn=model_fn,
        loss_fn=tf.keras.losses.BinaryCrossentropy,
        metrics_fn=lambda: [
            tf.keras.metrics.Precision(name="precision"),
            tf.keras.metrics.Recall(top_k=5, name="recall_at_5"),
        ],
        input_name="words",
        outputs_fn=lambda shares: {"probabilities": shares},
        serving_fn=functools.partial(_text_model, words=words),
    )


def _text_model(model: tf.keras.Model, words: list[str]) -> tf.keras.Model:
    """Makes a model of "text", strings [batch], from one of bags of words."""
    text = tf.keras.Input([], dtype="string", name="text")
    counts = tf.keras.layers.TextVectorization(
        standardize=None, output_mode="count", vocabulary=words
    )(text)[:, 1:]  # Without the unknown.
    totals = tf.reduce_sum(counts, axis=1, keepdims=True)
    return tf.keras.Model(text, model(tf.math.divide_no_nan(counts, totals)))


def _shifted(ids: tf.data.Dataset, length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns padded ids of at most `length` without the last and the first."""

    def pad(row: tf.Tensor) -> tf.Tensor:
        row = tf.pad(tf.cast(row, tf.int32), [[0, length - tf.size(row)]])
        return tf.ensure_shape(row, [length])

    padded = single_batch(ids.map(pad))
    return padded[:, :-1], padded[:, 1:]
