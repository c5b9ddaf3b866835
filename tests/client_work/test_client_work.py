"""Client work against plain loops in NumPy and Keras, client by client."""

import csv

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing import small_training as small
from tests.testing.blocks import drawn_block, in_file_order, orders_of
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment, registry
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.client_work.process import build_client_work
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.optimizers.build import build_optimizer
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task

layers = tf.keras.layers

# Every option away from its default, so that one that is lost is seen.
OPTIONS = {
    "sgd": {},
    "momentum": {"momentum": 0.7},
    "adam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "adamw": {
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-3,
        "weight_decay": 0.1,
    },
    "fedadam": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2},
    "fedyogi": {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-2},
    "fedadagrad": {"beta_1": 0.8, "epsilon": 1e-2},
    "yogi": {
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-2,
        "initial_accumulator": 1e-3,
    },
    "adagrad": {"epsilon": 1e-2, "initial_accumulator": 0.2},
    "rmsprop": {"decay": 0.8, "epsilon": 1e-2},
}
BATCH = 4


def bug(reason, *raises):
    """Known: fails in this way, and no other, until it is mended."""
    raises = raises or AssertionError
    return pytest.mark.xfail(strict=True, reason=reason, raises=raises)


@pytest.fixture(scope="module", autouse=True)
def runtime():
    # One thread, for every other one would open sessions of its own.
    with InProcessContext(1):
        yield


def options_of(name="sgd", rate=0.1, **changes):
    changes = {"batch_size": BATCH, "epochs_per_round": 2, **changes}
    optimizer = OptimizerConfig("client", name, rate, **OPTIONS[name])
    return ClientConfig(optimizer=optimizer, **changes)


def cross_entropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Total(tf.keras.losses.Loss):
    """The sum of a model's outputs: its gradients are what it was fed."""

    def call(self, y_true, y_pred):
        del y_true
        return tf.reduce_sum(y_pred, axis=-1)


def floats(count, seed=0):
    draw = np.random.default_rng([seed, count])
    return Examples(
        draw.normal(size=[count, 5]).astype(np.float32),
        draw.integers(3, size=count).astype(np.int32),
    )


def sequential(*parts, shape=(5,), dtype=None):
    return tf.keras.Sequential([tf.keras.Input(shape, dtype=dtype), *parts])


def start(make):
    """The weights of a model of `make`, as the server would send them."""
    tf.keras.utils.set_random_seed(1)
    weights = tff.learning.models.ModelWeights.from_model(make())
    return tf.nest.map_structure(lambda value: value.numpy(), weights)


def build(make, examples, options, metrics_fn=lambda: None, loss_fn=None):
    """The process; `examples` say of which types a client's are."""

    def spec(values):
        kind = tf.string if values.dtype.kind in "OSU" else values.dtype
        return tf.TensorSpec([None, *values.shape[1:]], kind)

    def model_fn():
        return tff.learning.models.from_keras_model(
            make(),
            loss=(loss_fn or cross_entropy)(),
            input_spec=(spec(examples.x), spec(examples.y)),
            metrics=metrics_fn(),
        )

    optimizer = build_optimizer(options.optimizer)
    return build_client_work(model_fn, optimizer, options)


def run(process, weights, blocks):
    """(a result a client, what was measured)."""
    output = process.next(process.initialize(), [weights] * len(blocks), blocks)
    return output.result, output.measurements


def blocks_of(cohort):
    return [
        drawn_block(examples, client=client)
        for client, examples in enumerate(cohort)
    ]


def stepper(name, rate, **options):
    """A function (weight, gradient, state) -> weight, from the papers.

    Kingma and Ba 2015; Loshchilov and Hutter 2019; Reddi et al. 2018, 2021;
    Duchi et al. 2011; Tieleman and Hinton 2012. In float64, on one array, whose
    `state` is a dict of its own.
    """

    def step(w, g, state):
        t = state["t"] = state.get("t", 0) + 1
        if name == "sgd":
            return w - rate * g
        if name == "momentum":
            m = state["m"] = options["momentum"] * state.get("m", 0) + g
            return w - rate * m
        if name == "adagrad":
            v = state.get("v", options["initial_accumulator"]) + g * g
            state["v"] = v
            return w - rate * g / np.sqrt(v + options["epsilon"])
        if name == "rmsprop":
            decay = options["decay"]
            v = state["v"] = decay * state.get("v", 0) + (1 - decay) * g * g
            return w - rate * g / (np.sqrt(v) + options["epsilon"])
        beta_1, beta_2 = options["beta_1"], options.get("beta_2", 0)
        m = state["m"] = beta_1 * state.get("m", 0) + (1 - beta_1) * g
        v = state.get("v", options.get("initial_accumulator", 0))
        if name == "fedadam":
            v = state["v"] = (
                beta_2 * state.get("v", options["epsilon"] ** 2)
                + (1 - beta_2) * g * g
            )
            return w - rate * m / (np.sqrt(v) + options["epsilon"])
        if name == "fedyogi":
            v = state.get("v", options["epsilon"] ** 2)
            v = state["v"] = v - (1 - beta_2) * g * g * np.sign(v - g * g)
            return w - rate * m / (np.sqrt(v) + options["epsilon"])
        if name == "fedadagrad":
            v = state["v"] = state.get("v", options["epsilon"] ** 2) + g * g
            return w - rate * m / (np.sqrt(v) + options["epsilon"])
        if name == "yogi":
            v = v + (1 - beta_2) * np.sign(g * g - v) * g * g
        else:
            v = beta_2 * v + (1 - beta_2) * g * g
        state["v"] = v
        corrected = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        direction = corrected * m / (np.sqrt(v) + options["epsilon"])
        return w - rate * (direction + options.get("weight_decay", 0) * w)

    return step


def batches_of(block, options):
    """The places of the examples of every step, epoch by epoch."""
    size = options.batch_size
    return [
        order[begin : begin + size]
        for order in orders_of(block, options.epochs_per_round)
        for begin in range(0, len(order), size)
    ]


def by_hand(make, weights, block, options, batches=None, loss_fn=cross_entropy):
    """A client's update from an eager Keras model and the step above."""
    model, loss_fn = make(), loss_fn()
    variables = tff.learning.models.ModelWeights.from_model(model)
    tf.nest.map_structure(lambda v, w: v.assign(w), variables, weights)
    step = stepper(
        options.optimizer.name,
        options.optimizer.learning_rate,
        **OPTIONS[options.optimizer.name],
    )
    states = [{} for _ in variables.trainable]
    if batches is None:
        batches = batches_of(block, options)
    (block,) = block
    for chosen in batches:
        with tf.GradientTape() as tape:
            output = model(tf.constant(block["x"][chosen]), training=True)
            loss = loss_fn(tf.constant(block["y"][chosen]), output)
            loss += tf.add_n(model.losses or [0.0])
        gradients = tape.gradient(loss, variables.trainable)
        for v, g, state in zip(variables.trainable, gradients, states):
            g = tf.convert_to_tensor(g).numpy().astype(np.float64)
            v.assign(step(v.numpy().astype(np.float64), g, state))
    return [
        before - after.numpy()
        for before, after in zip(weights.trainable, variables.trainable)
    ]


def assert_close(actual, expected, tolerance=1e-5):
    """Within `tolerance` of the size of the whole update."""
    assert len(actual) == len(expected)
    size = np.sqrt(sum(np.sum(np.square(each)) for each in expected))
    assert size > 0
    for a, b in zip(actual, expected):
        assert np.linalg.norm(a - b) <= tolerance * size


# Optimizers, epochs, batches.


def functional():
    return sequential(layers.Dense(7, activation="tanh"), layers.Dense(3))


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(7, activation="tanh")
        self.logits = layers.Dense(3)

    def call(self, inputs):
        return self.logits(self.hidden(inputs))


def subclassed():
    model = Subclassed()
    model.build([None, 5])
    return model


@pytest.fixture(scope="module")
def plain():
    """SGD on the functional model."""
    return build(functional, floats(1), options_of())


@pytest.mark.parametrize("make", [functional, *soaked(subclassed)])
# Muon's steps are computed by hand in tests/optimizers/test_muon.py.
@pytest.mark.parametrize("name", sorted(set(registry.OPTIMIZERS) - {"muon"}))
def test_updates_are_those_of_a_plain_loop(name, make):
    """Two epochs; a ragged last batch, a single example, whole batches."""
    options = options_of(name)
    cohort = [floats(BATCH * 2 + 2), floats(1), floats(BATCH)]
    weights, blocks = start(make), blocks_of(cohort)
    results, _ = run(build(make, cohort[0], options), weights, blocks)
    for result, block, examples in zip(results, blocks, cohort):
        assert result.update_weight == len(examples)
        assert_close(result.update, by_hand(make, weights, block, options))


def test_task_builds_a_subclassed_model():
    examples = floats(4)
    data = InMemoryData(examples, {"all": np.arange(4)})
    task = Task("small", data, examples, subclassed)
    assert task.build_model().built
    assert task.build_model().count_params() > 0


# What is known in closed form: a loss that is the sum of kernel * input.


class Kernel(layers.Layer):
    """sum(kernel * x) for every example; the gradient of kernel is x."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", shape[1:], initializer="zeros")

    def call(self, inputs):
        product = tf.reshape(self.kernel * inputs, [tf.shape(inputs)[0], -1])
        return tf.reduce_sum(product, axis=-1, keepdims=True)


def kernel_updates(make_layers, x, batch_size):
    """The sum of what came to the kernel, step by step, with rate 1."""
    examples = Examples(x, np.zeros(len(x), np.int32))
    options = options_of("sgd", 1.0, batch_size=batch_size, epochs_per_round=1)

    def make():
        return sequential(*make_layers(), Kernel(), shape=x.shape[1:])

    process = build(make, examples, options, loss_fn=Total)
    weights = start(make)

    def at_round(number, client=0, seed=0):
        block = in_file_order(
            examples, seed=seed, round_number=number, client=client
        )
        (result,), _ = run(process, weights, [block])
        return result.update[0]

    return at_round


def test_updates_weigh_as_much_as_the_examples_that_made_them(plain):
    results, _ = run(
        plain, start(functional), blocks_of([floats(7), floats(1)])
    )
    assert [result.update_weight for result in results] == [7, 1]


HUGE = 3e38


def test_what_is_finite_counts_and_what_is_not_is_dropped():
    """Two steps of rate 1 on one example: the update is twice the example."""
    half = HUGE / 2
    rows = {
        "plain": [1.0, -2.0],
        "nan": [np.nan, 1.0],
        "inf": [1.0, -np.inf],
        # Finite data, and an update that is not.
        "overflows": [HUGE, 1.0],
        # Finite updates, whose elements' sum is not.
        "sum overflows": [half, half],
        "sum underflows": [-half, -half],
        "sum cancels": [half, -half],
    }
    bad = {"nan", "inf", "overflows"}
    cohort = [
        Examples(np.float32([row]), np.zeros(1, np.int32))
        for row in rows.values()
    ]

    def make():
        return sequential(Kernel(), shape=(2,))

    options = options_of("sgd", 1.0, weighting="uniform")
    process = build(make, cohort[0], options, loss_fn=Total)
    results, measured = run(process, start(make), blocks_of(cohort))
    assert measured["rejected_clients"] == len(bad)
    assert measured["train"]["num_examples"] == 2 * (len(rows) - len(bad))
    for (name, row), result in zip(rows.items(), results):
        if name in bad:
            np.testing.assert_array_equal(result.update[0], [0, 0])
            assert result.update_weight == 0
        else:
            np.testing.assert_array_equal(
                result.update[0], 2 * np.float32(row), err_msg=name
            )
            assert result.update_weight == 1


# Randomness within a client.


@pytest.fixture(scope="module")
def masks():
    """What two layers made of ones, the first of them called twice."""

    class Three(layers.Layer):
        def __init__(self):
            super().__init__()
            self.first = layers.Dropout(0.5)
            self.second = layers.Dropout(0.5)

        def call(self, inputs, training=None):
            return tf.stack(
                [
                    self.first(inputs, training=training),
                    self.first(inputs, training=training),
                    self.second(inputs, training=training),
                ],
                axis=1,
            )

    x = np.ones([2, 500], np.float32)
    return kernel_updates(lambda: [Three()], x, batch_size=1)


def test_dropout_draws_anew_for_every_example_step_layer_and_call(masks):
    update = masks(1)
    # Of two steps, each of one example: 0, 2, or 4 where both kept it.
    values, counts = np.unique(update, return_counts=True)
    np.testing.assert_array_equal(values, [0, 2, 4])
    np.testing.assert_allclose(counts / update.size, [0.25, 0.5, 0.25], 0, 0.05)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        agreement = np.mean(update[one] == update[other])
        assert abs(agreement - 0.375) < 0.1


def test_dropout_is_the_same_for_the_same_seed_round_and_client(masks):
    np.testing.assert_array_equal(masks(1), masks(1))
    for other in (masks(2), masks(1, client=1), masks(1, seed=1)):
        assert (masks(1) != other).mean() > 0.4


def attention():
    inputs = tf.keras.Input([5])
    words = layers.Dense(8)(layers.Reshape([5, 1])(inputs))
    words = layers.MultiHeadAttention(2, 4, dropout=0.3)(words, words)
    return tf.keras.Model(inputs, layers.Dense(3)(layers.Flatten()(words)))


def noisy():
    return sequential(
        layers.Reshape([5, 1, 1]),
        layers.RandomFlip("vertical"),
        layers.RandomTranslation(0.5, 0.0),
        layers.Flatten(),
        layers.GaussianNoise(0.5),
        layers.Dense(8),
        layers.AlphaDropout(0.2),
        sequential(layers.GaussianDropout(0.5), shape=(8,)),
        layers.Dense(3),
    )


def spatial():
    return sequential(
        layers.Reshape([5, 1]),
        layers.SpatialDropout1D(0.5),
        layers.Dropout(0.5, noise_shape=[None, 1, 1]),
        layers.Flatten(),
        layers.Dense(3),
    )


class Conditional(Subclassed):
    """Has a layer that is first called in training."""

    def __init__(self):
        super().__init__()
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=False):
        hidden = self.hidden(inputs)
        if training:
            hidden = self.dropout(hidden, training=True)
        return self.logits(hidden)


def conditional():
    model = Conditional()
    model.build([None, 5])
    return model


def recurrent(cell=layers.LSTM, **options):
    return sequential(
        layers.Reshape([5, 1]), cell(4, **options), layers.Dense(3)
    )


@pytest.mark.parametrize(
    "make",
    [
        attention,
        noisy,
        spatial,
        conditional,
        *soaked(lambda: recurrent(dropout=0.5, recurrent_dropout=0.5)),
    ],
    ids=["attention", "noisy", "spatial", "conditional", "lstm"],
)
def test_random_layers_are_functions_of_seed_round_and_client(make):
    one = floats(1)
    # Of equal examples, so that their order makes no difference.
    examples = Examples(np.repeat(one.x, 6, axis=0), np.repeat(one.y, 6))
    process = build(make, examples, options_of())
    weights = start(make)

    def once(seed, number, client):
        block = drawn_block(examples, seed, number, client)
        (result,), _ = run(process, weights, [block])
        assert result.update_weight > 0
        return np.concatenate([each.ravel() for each in result.update])

    np.testing.assert_array_equal(once(0, 1, 2), once(0, 1, 2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert (once(0, 1, 2) != once(*other)).any()


@bug("the body of a while loop is traced, and its seed drawn, once")
def test_dropout_in_a_recurrent_cell_draws_anew_at_every_step():
    class Cell(layers.Layer):
        """Appends what dropout makes of a one to its state."""

        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)
            self.state_size, self.output_size = [20], 20

        def call(self, inputs, states, training=None):
            one = tf.ones_like(inputs)
            kept = self.dropout(one, training=training)
            state = tf.concat([states[0][:, 1:], kept], axis=1)
            return state, [state]

    x = np.ones([1, 20, 1], np.float32)
    update = kernel_updates(lambda: [layers.RNN(Cell())], x, 1)(1)
    np.testing.assert_array_equal(np.unique(update), [0, 2])


# Weights, state and tables of Keras layers.


class Scale(layers.Layer):
    """Multiplies by a weight that does not train."""

    def build(self, shape):
        self.scale = self.add_weight(
            "scale", shape[-1:], initializer="ones", trainable=False
        )

    def call(self, inputs):
        return inputs * self.scale


class Counter(layers.Layer):
    """Grows with every call in training; a state of the client's own."""

    def build(self, shape):
        self.calls = self.add_weight(
            "calls", [], initializer="zeros", trainable=False
        )

    def call(self, inputs, training=None):
        if training:
            self.calls.assign_add(1.0)
        return inputs * (1 + self.calls / 8)


def numbers_model():
    return sequential(
        layers.Normalization(mean=np.arange(5.0), variance=np.arange(1, 6.0)),
        Scale(),
        Counter(),
        layers.Dense(8, kernel_regularizer="l2"),
        layers.GroupNormalization(4),
        layers.Dense(4, trainable=False),
        layers.Dense(3),
    )


def words_model():
    return tf.keras.Sequential(
        [
            tf.keras.Input([], dtype="string"),
            layers.TextVectorization(
                vocabulary=["a", "b", "c"], output_sequence_length=4
            ),
            layers.Embedding(5, 3, mask_zero=True),
            layers.LSTM(3),
            layers.Dense(3),
        ]
    )


def letters_model():
    return sequential(
        layers.StringLookup(vocabulary=["a", "b", "c"]),
        layers.Embedding(4, 3),
        layers.GRU(3),
        layers.Dense(3),
        dtype="string",
    )


def tokens_model():
    inputs = tf.keras.Input([5], dtype="int64")
    words = layers.IntegerLookup(vocabulary=[3, 5, 7])(inputs)
    words = layers.Embedding(4, 8)(words)
    words = layers.MultiHeadAttention(2, 4)(words, words) + words
    words = layers.LayerNormalization()(words)
    pooled = layers.GlobalAveragePooling1D()(words)
    return tf.keras.Model(inputs, layers.Dense(3)(pooled))


def categories_model():
    return sequential(
        layers.CategoryEncoding(9, output_mode="multi_hot"),
        layers.Dense(3),
        dtype="int64",
    )


def numbers(draw):
    return draw.normal(size=[6, 5]).astype(np.float32)


def letters(draw):
    return draw.choice([b"a", b"b", b"c", b"d", b"\xff"], [6, 5]).astype("O")


def words(draw):
    return np.array([b" ".join(row[:3]) for row in letters(draw)], object)


def tokens(draw):
    return draw.integers(9, size=[6, 5])


@pytest.mark.parametrize(
    ("make", "features"),
    [
        (numbers_model, numbers),
        (letters_model, letters),
        (categories_model, tokens),
        pytest.param(words_model, words, marks=pytest.mark.soak),
        pytest.param(tokens_model, tokens, marks=pytest.mark.soak),
    ],
)
def test_layers_of_all_kinds_train_as_they_do_eagerly(make, features):
    draw = np.random.default_rng(0)
    labels = draw.integers(3, size=6).astype(np.int32)
    examples = Examples(features(draw), labels)
    weights = start(make)
    # What the server sends is not what any initializer would make.
    weights = tf.nest.map_structure(lambda value: value + 0.25, weights)
    options = options_of("momentum", epochs_per_round=1)
    (block,) = blocks_of([examples])
    process = build(make, examples, options)
    (first,), _ = run(process, weights, [block])
    (second,), _ = run(process, weights, [block])
    assert_close(first.update, by_hand(make, weights, block, options))
    for a, b in zip(first.update, second.update):
        np.testing.assert_array_equal(a, b)


class Borrowing(layers.Layer):
    """Multiplies by a variable that Keras does not know of."""

    def __init__(self, variable):
        super().__init__()
        self._borrowed = lambda: variable

    def call(self, inputs):
        return inputs * self._borrowed()


def variable(**options):
    def value():
        return tf.constant([1.0, 2.0, 3.0, 4.0, 5.0])

    return tf.Variable(value, shape=[5], trainable=False, **options)


def borrowing():
    module = tf.Module()
    module.scale = variable(dtype=tf.float32)
    layer = Borrowing(module.scale)
    layer.module = module
    return sequential(layer, layers.Dense(3))


def in_a_lambda():
    inner = layers.Dense(5, kernel_initializer="identity")
    inner.build([None, 5])
    return sequential(layers.Lambda(lambda x: inner(x)), layers.Dense(3))


def without_dtype():
    scale = variable()
    layer = Borrowing(scale)
    layer.scale = scale
    return sequential(layer, layers.Dense(3))


@pytest.mark.parametrize("make", [borrowing, in_a_lambda, without_dtype])
def test_variable_that_is_no_weight_starts_from_its_initial_value(make):
    examples = floats(10)
    weights, options = start(make), options_of()
    (block,) = blocks_of([examples])
    (result,), _ = run(build(make, examples, options), weights, [block])
    assert_close(result.update, by_hand(make, weights, block, options))


# Metrics.


class CountFrom(tf.keras.metrics.Metric):
    """Counts examples, not from 0; its variable is made by `_variable`."""

    def __init__(self, name="count", **options):
        super().__init__(name=name, **options)
        self.count = self._variable()

    def _variable(self):
        five = tf.keras.initializers.Constant(5.0)
        return self.add_weight("count", initializer=five)

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(tf.cast(tf.shape(y_true)[0], tf.float32))

    def result(self):
        return self.count + 0.0


class PlainCountFrom(CountFrom):
    """The same with a variable that Keras's metrics do not make."""

    def _variable(self):
        return tf.Variable(lambda: tf.constant(5.0), shape=[], dtype=tf.float32)


class AutoCountFrom(CountFrom):
    """The same with a variable that is like any other layer's."""

    def _variable(self):
        return self.add_weight(
            "count",
            initializer=tf.keras.initializers.Constant(5.0),
            synchronization=tf.VariableSynchronization.AUTO,
        )


class Largest(tf.keras.metrics.Metric):
    """The largest output, from minus infinity."""

    def __init__(self, name="largest", **options):
        super().__init__(name=name, **options)
        lowest = tf.keras.initializers.Constant(-np.inf)
        self.largest = self.add_weight("largest", initializer=lowest)

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.largest.assign(tf.maximum(self.largest, tf.reduce_max(y_pred)))

    def result(self):
        return self.largest + 0.0


class ByLabel(tf.keras.metrics.Mean):
    """The mean first output, weighted by the labels."""

    def __init__(self, name="by_label", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_pred[:, 0], sample_weight=y_true)


def test_metrics_are_those_of_keras_over_all_examples():
    """Of a model that stays as it is, to 1e-20."""
    keras = tf.keras.metrics
    kinds = [
        ByLabel,
        lambda: keras.AUC(num_thresholds=7, name="auc"),
        lambda: keras.Precision(name="precision"),
        lambda: keras.RootMeanSquaredError(name="rmse"),
    ]

    def make():
        return sequential(layers.Dense(1, activation="sigmoid"))

    cohort = [floats(10), floats(3, seed=1)]
    cohort = [Examples(each.x, each.y % 2) for each in cohort]
    process = build(
        make,
        cohort[0],
        options_of(rate=1e-20, epochs_per_round=1),
        metrics_fn=lambda: [kind() for kind in [*kinds, CountFrom, Largest]],
        loss_fn=tf.keras.losses.BinaryCrossentropy,
    )
    weights = start(make)
    _, measured = run(process, weights, blocks_of(cohort))
    train = measured["train"]
    model = make()
    weights.assign_weights_to(model)
    x = np.concatenate([each.x for each in cohort])
    y = np.concatenate([each.y for each in cohort])
    for kind in kinds:
        metric = kind()
        metric.update_state(y[:, np.newaxis], model(x))
        np.testing.assert_allclose(
            train[metric.name], metric.result(), rtol=1e-5
        )
    assert train["num_examples"] == 13
    assert train["num_batches"] == 4
    # TFF sums a metric's variables over clients: the fives, and the largest.
    assert train["count"] == 2 * 5 + 13
    largest = [np.max(model(each.x)) for each in cohort]
    np.testing.assert_allclose(train["largest"], sum(largest), rtol=1e-5)


def test_metric_with_a_variable_of_another_kind_starts_from_its_value():
    cohort = [floats(6), floats(1), floats(3)]
    process = build(
        functional,
        cohort[0],
        options_of(),
        metrics_fn=lambda: [PlainCountFrom("plain"), AutoCountFrom("auto")],
    )
    _, measured = run(process, start(functional), blocks_of(cohort))
    for name in ("plain", "auto"):
        assert measured["train"][name] == 3 * 5 + 2 * (6 + 1 + 3)


# Types of data.


def assert_trains_the_same(process, *same):
    """That clients with these examples come to the same bits."""
    blocks = [drawn_block(each) for each in same]
    results, measured = run(process, start(functional), blocks)
    assert measured["rejected_clients"] == 0
    for result in results[1:]:
        for a, b in zip(result.update, results[0].update):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("x_dtype", "y_dtype"), [(">f4", "i4"), ("f4", ">i4")])
def test_byte_order_of_the_data_makes_no_difference(plain, x_dtype, y_dtype):
    native = floats(6)
    other = Examples(native.x.astype(x_dtype), native.y.astype(y_dtype))
    assert_trains_the_same(plain, native, other)


def test_layout_of_the_data_in_memory_makes_no_difference(plain):
    examples = floats(6)
    wide = np.zeros([6, 10], np.float32)
    wide[:, ::2] = examples.x
    column_first, gaps = np.asfortranarray(examples.x), wide[:, ::2]
    read_only = examples.x.copy()
    read_only.flags.writeable = False
    same = [column_first, gaps, read_only]
    assert not any(x.flags.c_contiguous for x in same[:2])
    assert_trains_the_same(
        plain, examples, *(Examples(x, examples.y) for x in same)
    )


# Whole rounds.


def test_round_that_loses_all_clients_changes_nothing():
    task = small.task_of(small.dense)
    process = fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)
    first = process.set_model_weights(process.initialize(), small.start(task))
    # Momentum to lose.
    first = process.next(first, small.blocks(task, 1)).state
    examples = task.train.load("client_3")
    bad = Examples(np.full_like(examples.x, np.nan), examples.y)
    output = process.next(first, blocks_of([bad, bad]))
    assert output.metrics["client_work"]["rejected_clients"] == 2
    assert output.metrics["finalizer"]["update_non_finite"] == 1
    tf.nest.map_structure(np.testing.assert_array_equal, output.state, first)


# Through experiment.run.


CLIENTS = 6


@pytest.fixture
def train(monkeypatch, tmp_path):
    """Trains a task that `change` has had its hands on; returns its run."""

    def train(change=None, rounds=2, model_fn=None, data=InMemoryData, **kw):
        draw = np.random.default_rng(0)
        x = draw.normal(size=[CLIENTS * 10, 5]).astype(np.float32)
        y = draw.integers(3, size=CLIENTS * 10).astype(np.int32)
        test = Examples(x.copy(), y.copy())
        if change is not None:
            change(x, y)
        parts = np.split(np.arange(len(y)), CLIENTS)
        clients = {f"client_{i}": part for i, part in enumerate(parts)}
        task = Task(
            "small",
            data(Examples(x, y), clients),
            test,
            model_fn or (lambda: sequential(layers.Dense(3))),
        )
        monkeypatch.setitem(registry.TASKS, "small", f"{__name__}:_task")
        monkeypatch.setitem(globals(), "_task", lambda *_: task)
        return experiment.run(
            ExperimentConfig(
                DataConfig(task="small", partition="natural"),
                ClientConfig(**{"clients_per_round": CLIENTS, **kw}),
                ServerConfig(OptimizerConfig("server", "momentum", 1.0)),
                RunConfig(
                    output_dir=str(tmp_path),
                    total_rounds=rounds,
                    rounds_per_checkpoint=1,
                ),
            )
        )

    return train


def rows_of(directory):
    with open(directory / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_clients_with_features_that_are_not_finite_are_left_out(
    train, tmp_path
):
    def change(x, _):
        # The last: finite data, and outputs that are not.
        x *= 1e-20
        x[3], x[15], x[20:30] = np.nan, -np.inf, HUGE

    def make():
        return sequential(layers.Rescaling(1e20), layers.Dense(3))

    result = train(change, model_fn=make)
    rows = rows_of(tmp_path)
    assert [row["rejected_clients"] for row in rows] == ["3", "3"]
    for row in rows:
        assert np.isfinite(float(row["train_loss"]))
    _, weights = CheckpointStore(result.directory.checkpoints).load_weights(2)
    for value in weights.trainable:
        assert np.isfinite(value).all()


def test_rounds_whose_mean_overflows_are_lost_rounds(train, tmp_path):
    """Finite updates near the largest float, whose weighted sum is not."""

    def make():
        # From zero, so that outputs are finite whatever comes in.
        return sequential(
            layers.Dense(3, use_bias=False, kernel_initializer="zeros")
        )

    def change(x, y):
        x[:], y[:] = HUGE, 0

    with pytest.raises(errors.TrainingError, match="max_consecutive_failures"):
        train(
            change,
            rounds=5,
            model_fn=make,
            optimizer=OptimizerConfig("client", "sgd", 1.0),
        )
    assert len(rows_of(tmp_path)) == 3


class OutOfMemory(InMemoryData):
    """Holds a client that is larger than any memory."""

    def load(self, client_id):
        if client_id == "client_4":
            return Examples(np.ones([2**56], np.float32), np.zeros(1))
        return super().load(client_id)


def spoil(_, y):
    y[42] = 3


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"data": OutOfMemory}, errors.TrainingError, "Memory ran out"),
        ({"change": spoil}, errors.DataError, "label 3; the model has 3"),
    ],
    ids=["memory", "label"],
)
def test_client_that_cannot_be_read_ends_the_run_with_its_name(
    train, tmp_path, options, error, words
):
    with pytest.raises(error, match=words) as caught:
        train(rounds=30, clients_per_round=1, **options)
    assert "client_4" in str(caught.value)
    # All before it is saved, and can be gone on from.
    rounds = len(rows_of(tmp_path))
    assert 0 < rounds < 30
    store = CheckpointStore(str(tmp_path / "checkpoints"))
    last, weights = store.load_weights(None)
    assert last == rounds
    assert np.isfinite(weights.trainable[0]).all()


# Steps instead of epochs.


@pytest.mark.parametrize("steps", [*soaked(1, 3), 5])
def test_a_client_takes_as_many_steps_as_asked(steps):
    examples = floats(10)
    options = options_of("momentum", epochs_per_round=1, steps_per_round=steps)
    (block,) = blocks_of([examples])
    batches = [
        order[begin : begin + BATCH]
        for order in orders_of(block, -(-steps // 3))
        for begin in range(0, 10, BATCH)
    ][:steps]
    weights = start(functional)
    process = build(functional, examples, options)
    (result,), measured = run(process, weights, [block])
    expected = by_hand(functional, weights, block, options, batches)
    assert_close(result.update, expected)
    assert result.update_weight == 10
    assert measured["train"]["num_batches"] == steps


def test_epochs_and_steps_say_two_things():
    with pytest.raises(errors.ConfigError, match="leave one out"):
        ClientConfig(epochs_per_round=2, steps_per_round=5)
