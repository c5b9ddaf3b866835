"""SCAFFOLD as a client hook, on two quadratics with values known by hand.

Karimireddy et al. 2020, algorithm 1, option II: f_i = a_i / 2 (x - b_i)^2 with
a = (1, 4), b = (0, 1), two steps of rate .1.
"""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.config import ClientConfig, OptimizerConfig
from tff_pipeline.datasets.federation.federated_data import Examples

RATE, STEPS = 0.1, 2
CLIENTS = ClientConfig(
    batch_size=1,
    steps_per_round=STEPS,
    weighting="uniform",
    optimizer=OptimizerConfig("client", "sgd", RATE),
)


class Quadratic(tf.keras.layers.Layer):
    """a / 2 (x - b)^2 of the weight x, for inputs (a, b)."""

    def build(self, _):
        self.x = self.add_weight("x", [1], initializer="zeros")

    def call(self, inputs):
        a, b = inputs[:, :1], inputs[:, 1:]
        return a / 2 * tf.square(self.x - b)


class Linear(tf.keras.layers.Layer):
    """a x of the weight x, for inputs (a, b): gradients are a."""

    def build(self, _):
        self.x = self.add_weight("x", [1], initializer="zeros")

    def call(self, inputs):
        return inputs[:, :1] * self.x


class Itself(tf.keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred[:, 0]


def linear_model_fn():
    return model_fn(Linear)


def model_fn(layer=Quadratic):
    model = tf.keras.Sequential([tf.keras.Input([2]), layer()])
    specs = (
        tf.TensorSpec([None, 2], tf.float32),
        tf.TensorSpec([None], tf.int32),
    )
    return tff.learning.models.from_keras_model(
        model, Itself(), input_spec=specs
    )


class Scaffold(ClientHook):
    """Control variates of clients and server; `share` is |S| / N."""

    name = "control"

    def __init__(self, share):
        self._share = share

    def initial_state(self, specs):
        return [np.zeros(spec.shape, np.float32) for spec in specs]

    initial_server_value = initial_state

    def gradients(self, gradients_fn, state, step):
        corrected = [
            g - own + c
            for g, own, c in zip(gradients_fn(), state, step.server_value)
        ]
        return corrected, state

    def message(self, message, state, client):
        scale = tf.cast(client.num_steps, tf.float32) * client.learning_rate
        after = [
            own - c + change / scale
            for own, c, change in zip(
                state, client.server_value, tf.nest.flatten(message.update)
            )
        ]
        change = [a - b for a, b in zip(after, state)]
        extras = {**message.extras, self.name: change}
        return message._replace(extras=extras), after

    def at_server(self, value, mean):
        return mean.update, [
            c + self._share * change for c, change in zip(value, mean.extra)
        ]


def block_of(number, client, data=None):
    a, b = data or [(1.0, 0.0), (4.0, 1.0)][client]
    examples = Examples(np.float32([[a, b]]), np.zeros(1, np.int32))
    return drawn_block(examples, 0, number, client)


def play(process, cohorts, data=None):
    """(x, c, c_1, c_2) after each round; `cohorts` says who takes part."""
    kept = [process.initial_kept_state] * 2
    state, history = process.initialize(), []
    for number, cohort in enumerate(cohorts, 1):
        blocks = [block_of(number, c, (data or {}).get(c)) for c in cohort]
        output = process.next(state, blocks, [kept[c] for c in cohort])
        state = output.state
        for client, row in zip(cohort, output.kept_states):
            kept[client] = row
        values = [
            state.global_model_weights.trainable[0],
            state.client_work["control"][0],
            *(row["control"][0] for row in kept),
        ]
        history.append([float(np.squeeze(value)) for value in values])
    return history, output
