"""Model functions as users write them, for `--model_fn`; see test_own_model."""

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
INPUTS, CLASSES = 5, 2


def sequential(*parts):
    return tf.keras.Sequential([tf.keras.Input([INPUTS]), *parts])


def compiled(model, loss):
    model.compile("adam", loss, metrics=["accuracy"])
    return model


class Subclassed(tf.keras.Model):
    """A dense layer and a function of what it gives."""

    def __init__(self, units=CLASSES, end=tf.identity):
        super().__init__()
        self.dense = layers.Dense(units)
        self.end = end

    def call(self, x):
        return self.end(self.dense(x))


class AddsLoss(layers.Layer):
    """Adds a loss of what passes through it."""

    def call(self, x):
        self.add_loss(tf.reduce_sum(tf.square(x)))
        return x


def tutorial():
    """The dense model of a beginner's tutorial on MNIST, word for word."""
    model = tf.keras.models.Sequential(
        [
            layers.Flatten(input_shape=(28, 28)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return compiled(model, "sparse_categorical_crossentropy")


def logits():
    return sequential(layers.Dense(2))


def softmax():
    return sequential(layers.Dense(2, activation="softmax"))


def softmax_layer():
    return sequential(layers.Dense(2), layers.Softmax())


def softmax_of_tensorflow():
    return sequential(layers.Dense(2, activation=tf.nn.softmax))


def softmax_operation():
    x = tf.keras.Input([INPUTS])
    return tf.keras.Model(x, tf.nn.softmax(layers.Dense(2)(x)))


def softmax_in_call():
    return Subclassed(2, tf.nn.softmax)


def softmax_within():
    return sequential(softmax_layer())


def softmax_compiled():
    return compiled(softmax(), "sparse_categorical_crossentropy")


def softmax_unbuilt():
    return tf.keras.Sequential([layers.Dense(2, activation="softmax")])


def sigmoid():
    return sequential(layers.Dense(1, activation="sigmoid"))


def sigmoid_compiled():
    return compiled(sigmoid(), "binary_crossentropy")


def sigmoid_in_call():
    return Subclassed(1, tf.sigmoid)


def one_logit():
    return sequential(layers.Dense(1))


def regularized():
    return sequential(layers.Dense(2, kernel_regularizer="l2"))


def twice():
    return sequential(layers.Dense(2, activation="softmax"), layers.Softmax())


def two_sigmoids():
    return sequential(layers.Dense(2, activation="sigmoid"))


def seven():
    return sequential(layers.Dense(7))


def six_inputs():
    return tf.keras.Sequential([tf.keras.Input([6]), layers.Dense(2)])


def whole_numbers():
    x = tf.keras.Input([INPUTS], dtype="int32")
    hidden = layers.Flatten()(layers.Embedding(3, 2)(x))
    return tf.keras.Model(x, layers.Dense(2)(hidden))


def adapted():
    layer = layers.Normalization()
    layer.adapt(np.eye(INPUTS, dtype=np.float32))
    return sequential(layer, layers.Dense(2))


def constrained():
    return sequential(layers.Dense(2, kernel_constraint="non_neg"))


def adds_loss():
    return sequential(layers.Dense(2), AddsLoss())


def model_adds_loss():
    model = logits()
    model.add_loss(tf.reduce_sum(tf.square(model.output)))
    return model


def activity_regularizer():
    return sequential(layers.Dense(2, activity_regularizer="l2"))


_CACHED = []


def cached():
    if not _CACHED:
        _CACHED.append(logits())
    return _CACHED[0]


_LAYER = layers.Dense(2)


def shared_layer():
    return sequential(_LAYER)


def other_each_time():
    _CACHED.append(None)
    return sequential(layers.Dense(len(_CACHED)), layers.Dense(2))


def contradiction():
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return compiled(softmax(), loss)


def logits_as_probabilities():
    return compiled(logits(), "sparse_categorical_crossentropy")


def squared_error():
    return compiled(logits(), "mse")


def float64():
    x = tf.keras.Input([INPUTS], dtype="float64")
    return tf.keras.Model(x, layers.Dense(2, dtype="float64")(x))


def untrained():
    return sequential(layers.Dense(2, trainable=False))


def stateful():
    x = tf.keras.Input([INPUTS], batch_size=4)
    rows = layers.Reshape([INPUTS, 1])(x)
    hidden = layers.SimpleRNN(2, stateful=True)(rows)
    return tf.keras.Model(x, layers.Dense(2)(hidden))


def two_outputs():
    x = tf.keras.Input([INPUTS])
    return tf.keras.Model(x, [layers.Dense(2)(x), layers.Dense(1)(x)])
