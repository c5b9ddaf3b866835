"""A user's own model: what is changed of it, and what is refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.testing import own_models
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.models import own_ends
from tff_pipeline.tasks import own_model

layers = tf.keras.layers


def load(task, path=None, **options):
    data_dir = None if path is None else str(path)
    options = DataConfig(task=task, data_dir=data_dir, **options)
    return registry.load(task, registry.TASKS)(options, seed=0)


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """The task of 60 rows of 5 numbers with two classes."""
    path = tmp_path_factory.mktemp("own") / "d.npz"
    draw = np.random.default_rng(0)
    x = draw.normal(size=[60, 5]).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    np.savez(path, x=x, y=y, client_id=np.repeat(np.arange(6), 10))
    return load("npz", path)


@pytest.fixture(scope="module")
def digits():
    return load("digits_2nn", num_clients=5, partition="iid")


def used(task, name):
    return own_model.use(task, f"tests.testing.own_models:{name}")


def fitted(task, model_fn):
    """The task with a model that this test makes."""
    fitting = own_model.fit(task, model_fn, "--model_fn=here")
    return own_model.with_model(task, model_fn, fitting), fitting


def probabilities(task, model, x):
    return task.outputs_fn(model(x))["probabilities"].numpy()


@pytest.mark.parametrize(
    "name",
    [
        "logits",
        "softmax",
        "softmax_layer",
        "softmax_of_tensorflow",
        "softmax_operation",
        "softmax_in_call",
        "softmax_within",
        "softmax_compiled",
        "softmax_unbuilt",
        "sigmoid",
        "sigmoid_compiled",
        "sigmoid_in_call",
        "one_logit",
    ],
)
def test_probabilities_are_those_that_the_user_meant(two_classes, name):
    task = used(two_classes, name)
    model = task.build_model()
    x = tf.constant(task.test.x)
    logits = model(x)
    assert logits.shape[-1] == 2
    mine = getattr(own_models, name)()
    mine(x)
    values = [each.numpy() for each in model.weights]
    mine.set_weights(values)
    meant = mine(x).numpy()
    if name == "logits":
        meant = tf.nn.softmax(meant).numpy()
    if name == "one_logit":
        meant = tf.sigmoid(meant).numpy()
    if meant.shape[-1] == 1:
        meant = np.concatenate([1 - meant, meant], axis=-1)
    found = probabilities(task, model, x)
    np.testing.assert_allclose(found, meant, atol=1e-5)
    # Not squeezed, as a softmax of a softmax is.
    kernel, bias = values
    model.set_weights([kernel * 100, bias])
    assert probabilities(task, model, x).max() > 0.99


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twice", "softmax of a softmax"),
        ("two_sigmoids", "2 classes that exclude each other"),
        ("seven", "each of 2 classes"),
        ("six_inputs", r"takes float32 of shape \(6,\)"),
        ("whole_numbers", "takes int32"),
        ("adapted", r"adapt\(\)"),
        ("constrained", "constraint NonNeg on .*kernel"),
        ("adds_loss", "add_loss"),
        ("model_adds_loss", "add_loss"),
        ("activity_regularizer", "activity_regularizer"),
        ("cached", "same object at every call"),
        ("shared_layer", "in common"),
        ("other_each_time", "other shapes"),
        ("contradiction", "from_logits=True, which contradict"),
        ("logits_as_probabilities", "from_logits=False, which contradict"),
        ("squared_error", "the loss MeanSquaredError"),
        ("float64", "float64"),
        ("untrained", "no weights that are trained"),
        ("two_outputs", "1 inputs and 2 outputs"),
        ("missing", "cannot be used"),
    ],
)
def test_what_would_go_wrong_is_refused_in_a_sentence(two_classes, name, words):
    with pytest.raises(errors.ConfigError, match=words) as error:
        used(two_classes, name)
    sentence = str(error.value)
    assert sentence.startswith(f"--model_fn=tests.testing.own_models:{name} ")
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_regularizer_is_part_of_what_clients_minimise(two_classes):
    task = used(two_classes, "regularized")
    assert task.notes == two_classes.notes
    (loss,) = task.build_model().losses
    assert float(loss) > 0


def test_weights_that_a_function_sets_are_the_first(two_classes):
    kernel = np.full([5, 2], 3.0, np.float32)

    def pretrained():
        layer = layers.Dense(2, weights=[kernel, np.zeros(2, np.float32)])
        return own_models.sequential(layer, layers.Softmax())

    task, _ = fitted(two_classes, pretrained)
    np.testing.assert_array_equal(task.build_model().get_weights()[0], kernel)


# What goes in.


def dense(shape, dtype="float32", *first):
    def model_fn():
        return tf.keras.Sequential(
            [
                tf.keras.Input(shape, dtype=dtype),
                *(layer() for layer in first),
                layers.Flatten(),
                layers.Dense(10),
            ]
        )

    return model_fn


def entered(task, model_fn):
    """What the model itself is given, for the task's test images."""
    _, fitting = fitted(task, model_fn)

    class Given(tf.keras.Model):
        def call(self, x):
            return x

    return own_ends.enter(Given(), task.test.x, fitting.way_in).numpy()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (64,), (None, None, 1)])
def test_bytes_are_cast_scaled_and_shaped_as_an_input_says(digits, shape):
    given = entered(digits, dense(shape) if None not in shape else pooled)
    wanted = digits.test.x.astype(np.float32) / 16
    assert given.dtype == np.float32
    assert given.ndim == len(shape) + 1
    np.testing.assert_allclose(given.ravel(), wanted.ravel())


def pooled():
    return tf.keras.Sequential(
        [
            tf.keras.Input((None, None, 1)),
            layers.Conv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def test_images_are_resized(digits):
    given = entered(digits, dense((28, 28)))
    assert given.shape == (len(digits.test), 28, 28)
    images = digits.test.x[:, :, :, :] / np.float32(16)
    wanted = tf.image.resize(images, [28, 28]).numpy()[..., 0]
    np.testing.assert_allclose(given, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "model_fn",
    [
        dense((8, 8, 1), "uint8"),
        dense((8, 8, 1), "float32", lambda: layers.Rescaling(1 / 16)),
        dense((8, 8, 1), "float32", lambda: layers.Lambda(lambda x: x / 16)),
    ],
)
def test_a_model_that_scales_its_inputs_gets_them_as_they_are(digits, model_fn):
    assert entered(digits, model_fn).max() == 16


@pytest.mark.parametrize("shape", [(28, 28, 3), (9,), (8, 8, 1, 1, 2)])
def test_images_of_other_channels_or_sizes_are_refused(digits, shape):
    with pytest.raises(
        errors.ConfigError, match=r"data of digits_2nn are uint8"
    ):
        fitted(digits, dense(shape))


def test_a_missing_axis_is_added_for_a_model_that_is_not_built(tmp_path):
    x = np.zeros([20, 6, 6], np.float32)
    y = np.arange(20) % 2
    np.savez(tmp_path / "d.npz", x=x, y=y, client_id=np.arange(20) % 2)
    task, fitting = fitted(
        load("npz", tmp_path / "d.npz"),
        lambda: tf.keras.Sequential(
            [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
        ),
    )
    assert fitting.words == ["6 x 6 is reshaped to 6 x 6 x 1"]
    assert task.build_model()(x).shape == (20, 2)


def test_an_unchanged_model_is_the_users_own(two_classes):
    task, fitting = fitted(two_classes, own_models.logits)
    assert fitting.words == []
    assert isinstance(task.build_model(), tf.keras.Sequential)


def test_a_table_is_encoded_before_the_model(tmp_path):
    frame = pd.DataFrame(
        {
            "who": np.arange(160) % 5,
            "age": np.arange(160) % 37 + 0.5,
            "city": ["Oslo", "Paris", "Rome", None] * 40,
            "ill": ["no", "yes"] * 80,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = load(
        "csv", tmp_path / "t.csv", client_column="who", label_column="ill"
    )
    width = table.encoder_fn().output_shape[1]

    def softmax(inputs=width):
        return tf.keras.Sequential(
            [
                tf.keras.Input([inputs]),
                layers.Dense(2, activation="softmax"),
            ]
        )

    task, _ = fitted(table, softmax)
    encoded = table.encoder_fn()(table.test.x).numpy()
    # Missing or a known city: one of them; the number is scaled.
    np.testing.assert_array_equal(encoded[:, 1:].sum(axis=1), 1)
    assert np.abs(encoded[:, 0]).max() < 3
    model = task.build_model()
    serving = task.serving_fn(model)
    given = serving(
        {
            "age": tf.constant([3.0, np.nan]),
            "city": tf.constant(["Atlantis", "Rome"]),
        }
    )
    assert np.isfinite(given).all()
    with pytest.raises(
        errors.ConfigError, match=rf"2 columns of csv become .*\({width},\)"
    ):
        fitted(table, lambda: softmax(2))


# The whole way, once.


def test_a_tutorials_model_is_trained_unchanged(tmp_path):
    reference = "tests.testing.own_models:tutorial"
    result = experiment.run(
        ExperimentConfig(
            data=DataConfig(
                "digits_2nn",
                num_clients=5,
                partition="iid",
                model_fn=reference,
            ),
            clients=ClientConfig(
                clients_per_round=5,
                batch_size=20,
                optimizer=OptimizerConfig("client", "sgd", 0.1),
            ),
            run=RunConfig(
                output_dir=str(tmp_path / "run"),
                total_rounds=5,
                rounds_per_eval=5,
            ),
        )
    )
    assert result.evaluation["accuracy"] > 0.85
    served = tf.saved_model.load(result.directory.saved_model)
    x = load("digits_2nn", num_clients=5, partition="iid").test
    given = served.signatures["serving_default"](image=tf.constant(x.x))
    assert given["probabilities"].numpy().max() > 0.9
    assert np.mean(given["class_id"] == x.y) == pytest.approx(
        result.evaluation["accuracy"], abs=1e-6
    )


def test_fittings_are_the_same_at_every_call(two_classes):
    _, first = fitted(two_classes, own_models.softmax_in_call)
    _, second = fitted(two_classes, own_models.softmax_in_call)
    assert dataclasses.asdict(first) == dataclasses.asdict(second)
