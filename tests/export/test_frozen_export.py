"""Exports of models with frozen weights serve alone, and hold nothing else."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import frozen_words
from tff_pipeline import errors, experiment
from tff_pipeline.export import formats, saved_model
from tff_pipeline.models import frozen

SMALL = frozen_words.vectors(50, 8)


@pytest.fixture
def base(tmp_path):
    return frozen.store(str(tmp_path / "base"), {frozen_words.NAME: SMALL})


@pytest.fixture
def task(base):
    return frozen_words.task(frozen_words.frozen_model_fn(base), 50)


@pytest.fixture
def weights(task):
    return experiment.initial_weights(task, seed=0)


def by_hand(weights, ids):
    kernel, bias, out, out_bias = weights.trainable
    x = SMALL[ids].mean(axis=1)
    return np.maximum(x @ kernel + bias, 0.0) @ out + out_bias


def test_first_weights_are_those_that_travel(weights):
    shapes = [value.shape for value in weights.trainable]
    assert shapes == [(8, 16), (16,), (16, 3), (3,)]
    assert list(weights.non_trainable) == []


def test_saved_model_and_keras_file_need_no_frozen_folder(
    task, base, weights, tmp_path
):
    formats.write("keras", task, weights, str(tmp_path / "model.keras"))
    saved_model.export(task, weights, str(tmp_path / "saved"))
    shutil.rmtree(base.folder)
    ids = task.test.x[:9]
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures
    served = serve["serving_default"](ids=tf.constant(ids))["logits"]
    loaded = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    for logits in (served, loaded(ids)):
        np.testing.assert_allclose(
            logits, by_hand(weights, ids), rtol=0, atol=1e-6
        )
    assert np.array_equal(loaded.get_layer("words").get_weights()[0], SMALL)


def test_frozen_values_that_changed_on_the_way_are_not_exported(
    base, weights, tmp_path
):
    """As where a model assigns to a frozen variable."""

    def model_fn():
        model = frozen_words.frozen_model_fn(base)()
        model.get_layer("words").set_weights([SMALL + 1.0])
        return model

    path = tmp_path / "saved"
    with pytest.raises(errors.RunDirectoryError, match="neither"):
        saved_model.export(frozen_words.task(model_fn, 50), weights, str(path))
    assert not os.path.exists(path)


def test_weights_of_the_model_whose_embedding_travels_are_refused(
    task, tmp_path
):
    ordinary = frozen_words.task(frozen_words.ordinary_model_fn(SMALL), 50)
    weights = experiment.initial_weights(ordinary, seed=0)
    with pytest.raises(errors.RunDirectoryError, match="non_trainable"):
        saved_model.export(task, weights, str(tmp_path / "saved"))
