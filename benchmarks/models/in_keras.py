"""The workloads' models in Keras, for this pipeline, TFF and the TF loop."""

import tensorflow as tf

from benchmarks import workloads
from benchmarks.workloads import Workload

layers = tf.keras.layers


def build(workload: Workload) -> tf.keras.Model:
    """The model; its weights come in the order of `initial_weights`."""
    if workload.model in workloads.DENSE:
        return _dense(workloads.DENSE[workload.model])
    return {"cnn": _cnn, "lstm": _lstm, "transformer": _transformer}[
        workload.model
    ]()


def input_spec(workload: Workload) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """The specs of a batch of x and y."""
    if workload.is_language:
        lstm = workload.model == "lstm"
        length = workloads.LSTM_SEQUENCE if lstm else workloads.SEQUENCE
        spec = tf.TensorSpec([None, length], tf.int32)
        return spec, spec
    shape = workloads.PIXELS if workload.model == "cnn" else (784,)
    return (
        tf.TensorSpec([None, *shape], tf.float32),
        tf.TensorSpec([None], tf.int32),
    )


def _dense(hidden: tuple[int, ...]) -> tf.keras.Model:
    return tf.keras.Sequential(
        [
            tf.keras.Input([784]),
            *(layers.Dense(units, activation="relu") for units in hidden),
            layers.Dense(workloads.CLASSES),
        ]
    )


def _cnn() -> tf.keras.Model:
    model = tf.keras.Sequential([tf.keras.Input(workloads.PIXELS)])
    for filters in workloads.FILTERS:
        model.add(
            layers.Conv2D(
                filters, workloads.KERNEL, padding="same", activation="relu"
            )
        )
        model.add(layers.MaxPool2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(workloads.HIDDEN, activation="relu"))
    model.add(layers.Dense(workloads.CLASSES))
    return model


def _lstm() -> tf.keras.Model:
    return tf.keras.Sequential(
        [
            tf.keras.Input([workloads.LSTM_SEQUENCE], dtype=tf.int32),
            layers.Embedding(workloads.VOCABULARY, workloads.LSTM_EMBEDDING),
            layers.LSTM(workloads.LSTM_UNITS, return_sequences=True),
            layers.LSTM(workloads.LSTM_UNITS, return_sequences=True),
            layers.Dense(workloads.VOCABULARY),
        ]
    )


class _Embeddings(layers.Layer):
    """Of the characters and of their positions, added."""

    def build(self, input_shape: tf.TensorShape) -> None:
        self.characters = self.add_weight(
            "characters", [workloads.VOCABULARY, workloads.WIDTH]
        )
        self.positions = self.add_weight(
            "positions", [input_shape[1], workloads.WIDTH]
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.characters, inputs) + self.positions


def _transformer() -> tf.keras.Model:
    def norm() -> layers.Layer:
        return layers.LayerNormalization(epsilon=workloads.EPSILON)

    inputs = tf.keras.Input([workloads.SEQUENCE], dtype=tf.int32)
    x = _Embeddings()(inputs)
    for _ in range(workloads.BLOCKS):
        normed = norm()(x)
        x += layers.MultiHeadAttention(
            workloads.HEADS, workloads.WIDTH // workloads.HEADS
        )(normed, normed, use_causal_mask=True)
        hidden = layers.Dense(workloads.FEED_FORWARD, activation="gelu")
        x += layers.Dense(workloads.WIDTH)(hidden(norm()(x)))
    logits = layers.Dense(workloads.VOCABULARY)(norm()(x))
    return tf.keras.Model(inputs, logits)
