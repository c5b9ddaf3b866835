"""Tasks: models of the published sizes, on data that fit them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors, registry
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.tasks.task import Task


def load(name, **options):
    options = DataConfig(task=name, **options)
    return registry.load(name, registry.TASKS)(options, seed=0)


@pytest.fixture(scope="module")
def digits():
    return load("digits_2nn", num_clients=10)


@pytest.mark.parametrize(
    ("name", "parameters"), [("digits_2nn", 55210), ("digits_cnn", 13706)]
)
def test_digits_models_have_the_stated_size(name, parameters):
    assert load(name).model_fn().count_params() == parameters


@pytest.mark.parametrize(
    ("name", "parameters"), [("mnist_2nn", 199210), ("mnist_cnn", 1663370)]
)
def test_mnist_models_have_the_published_size(name, parameters, mnist_dir):
    task = load(name, data_dir=str(mnist_dir))
    assert task.model_fn().count_params() == parameters
    assert len(task.train) == 100
    assert {task.train.size(name) for name in task.train.client_ids} == {600}


def test_mnist_by_writer_keeps_the_testers_apart(mnist_dir):
    task = load("mnist_2nn", data_dir=str(mnist_dir), partition="natural")
    assert len(task.train) == 539
    assert len(task.unseen) == 297
    assert not set(task.train.client_ids) & set(task.unseen.client_ids)
    sizes = [task.unseen.size(name) for name in task.unseen.client_ids]
    assert sum(sizes) == len(task.test) == 10000


def model(shape, dtype, outputs):
    return tf.keras.Sequential(
        [
            tf.keras.Input(shape, dtype=dtype),
            tf.keras.layers.Rescaling(1.0),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(outputs),
        ]
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "outputs", "words"),
    [
        ((28, 28, 1), "uint8", 10, "(28, 28, 1)"),
        ((8, 8), "uint8", 10, "(8, 8)"),
        ((8, 8, 1), "float32", 10, "float32"),
    ],
)
def test_model_that_does_not_fit_its_data_is_refused(
    digits, shape, dtype, outputs, words
):
    with pytest.raises(errors.ConfigError, match="digits_2nn") as error:
        dataclasses.replace(
            digits, model_fn=lambda: model(shape, dtype, outputs)
        )
    assert words in str(error.value)


def test_label_that_the_model_has_no_output_for_is_refused(digits):
    with pytest.raises(errors.DataError, match="label 9; the model has 9"):
        dataclasses.replace(
            digits, model_fn=lambda: model((8, 8, 1), "uint8", 9)
        )
    wrong = Examples(digits.test.x[:2], np.array([3, -1], np.int32))
    with pytest.raises(errors.DataError, match=r"client_7 .* the label -1"):
        digits.check(wrong, "client_7")
    with pytest.raises(errors.DataError, match=r"client_8 .* no examples"):
        digits.check(digits.test.take(np.arange(0)), "client_8")


def test_batch_normalization_is_refused_by_name(digits):
    def normalized():
        return tf.keras.Sequential(
            [
                tf.keras.Input((8, 8, 1), dtype="uint8"),
                tf.keras.layers.Rescaling(1.0),
                tf.keras.layers.BatchNormalization(name="norm"),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(10),
            ]
        )

    with pytest.raises(errors.ConfigError, match=r"norm.*GroupNormalization"):
        dataclasses.replace(digits, model_fn=normalized)


def test_model_with_two_inputs_is_refused(digits):
    def two_inputs():
        inputs = [tf.keras.Input((8, 8, 1), dtype="uint8") for _ in range(2)]
        return tf.keras.Model(inputs, inputs[0])

    with pytest.raises(errors.ConfigError, match="2 inputs"):
        dataclasses.replace(digits, model_fn=two_inputs)


def test_task_is_frozen(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.name = "other"


def test_examples_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="3 inputs but 2 labels"):
        Examples(np.zeros([3, 1]), np.zeros([2]))


def test_clients_get_their_own_examples_in_order():
    examples = Examples(np.arange(6.0), np.arange(6))
    clients = {"a": np.array([4, 0]), "b": np.array([5])}
    data = InMemoryData(examples, clients)
    assert data.client_ids == ("a", "b")
    assert [data.size(name) for name in data.client_ids] == [2, 1]
    np.testing.assert_array_equal(data.load("a").y, [4, 0])


def test_task_takes_a_batch_of_any_size(digits):
    assert isinstance(digits, Task)
    x_spec, y_spec = digits.batch_spec
    assert x_spec.shape.as_list() == [None, 8, 8, 1]
    assert y_spec.shape.as_list() == [None]
