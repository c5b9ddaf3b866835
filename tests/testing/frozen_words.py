"""Texts to classes by the mean of frozen word vectors, and a head on top."""

import numpy as np
import tensorflow as tf

from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.models import frozen
from tff_pipeline.tasks.task import Task

WORDS, SIZE, LENGTH, CLASSES = 20_000, 64, 8, 3
NAME = "words/embeddings"
CLIENTS = tuple(f"client {i}" for i in range(4))


def vectors(words=WORDS, size=SIZE):
    """Word vectors, float32 [words, size], always the same ones."""
    draw = np.random.default_rng(5)
    return draw.normal(size=[words, size]).astype(np.float32)


def model(words, size, initializer="uniform", name="words"):
    """The model, with an embedding as Keras makes it."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([LENGTH], dtype="int32"),
            tf.keras.layers.Embedding(
                words, size, initializer, name=name, trainable=False
            ),
            tf.keras.layers.GlobalAveragePooling1D(),
            tf.keras.layers.Dense(
                16,
                "relu",
                kernel_initializer=tf.keras.initializers.GlorotUniform(1),
                name="hidden",
            ),
            tf.keras.layers.Dense(
                CLASSES,
                kernel_initializer=tf.keras.initializers.GlorotUniform(2),
                name="logits",
            ),
        ]
    )


def frozen_model_fn(base):
    """A model function whose embedding is the frozen weights `base`."""

    def model_fn():
        with frozen.using(base):
            return model(*base.arrays[NAME].shape)

    return model_fn


def ordinary_model_fn(values):
    """The same model, whose embedding travels."""
    return lambda: model(
        *values.shape, initializer=tf.keras.initializers.Constant(values)
    )


def task(model_fn, words=WORDS):
    """Four clients with 20 texts each, whose classes go by their words."""
    draw = np.random.default_rng(0)
    x = draw.integers(words, size=[80, LENGTH]).astype(np.int32)
    examples = Examples(x, (x.sum(axis=1) % CLASSES).astype(np.int32))
    parts = np.split(np.arange(80), len(CLIENTS))
    clients = InMemoryData(examples, dict(zip(CLIENTS, parts)))
    return Task("words", clients, examples, model_fn, input_name="ids")
