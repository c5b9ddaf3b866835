"""Weights of a model by their names: where they match stored ones."""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import initial_weights


def two_layers(hidden=4, outputs=3, prefix=""):
    """A model of a layer that has no name and one that has."""
    return tf.keras.Sequential(
        [
            tf.keras.Input([2]),
            tf.keras.layers.Dense(hidden, "relu"),
            tf.keras.layers.Dense(outputs, name=f"{prefix}logits"),
        ]
    )


def stored(**more):
    """Returns weights of these layers as another process would name them."""
    return {
        "dense_17/kernel": np.arange(8, dtype=np.float32).reshape(2, 4),
        "dense_17/bias": np.full([4], 0.5, np.float32),
        "logits/kernel": np.arange(12, dtype=np.float32).reshape(4, 3),
        "logits/bias": np.full([3], 0.25, np.float32),
        **more,
    }


def test_names_do_not_depend_on_what_the_process_made_before():
    expected = {
        "trainable": (
            *("dense/kernel", "dense/bias"),
            *("logits/kernel", "logits/bias"),
        ),
        "non_trainable": (),
    }
    models = [two_layers() for _ in range(3)]
    assert models[0].weights[0].name != models[1].weights[0].name
    for model in models:
        assert initial_weights.names(model) == expected


def test_numbers_are_counted_within_the_layer_above():
    names = [
        "a/gru_cell_10/kernel:0",
        "b/gru_cell_9/kernel:0",
        "dense_10/bias",
        "dense_9/bias",
        "block_2/dense_10/bias",
        "dense_9/kernel",
    ]
    assert initial_weights.numbered_anew(names, {"dense", "gru_cell"}) == (
        "a/gru_cell/kernel",
        "b/gru_cell/kernel",
        "dense_1/bias",
        "dense/bias",
        "block_2/dense/bias",
        "dense/kernel",
    )


@pytest.mark.parametrize("wrap", [lambda x: x, tf.keras.layers.Bidirectional])
def test_cells_and_their_wrappers_are_layers_too(wrap):
    def model():
        return tf.keras.Sequential(
            [
                tf.keras.Input([None, 2]),
                wrap(tf.keras.layers.SimpleRNN(2, return_sequences=True)),
                wrap(tf.keras.layers.SimpleRNN(2)),
            ]
        )

    model()
    first, second = (initial_weights.names(model()) for _ in range(2))
    assert first == second
    assert len(set(first["trainable"])) == len(first["trainable"])


def test_every_weight_begins_with_that_of_its_name():
    given = stored()
    found = initial_weights.match(two_layers(), given, "runs/a")
    assert list(found.values) == [
        *("dense/kernel", "dense/bias", "logits/kernel", "logits/bias")
    ]
    np.testing.assert_array_equal(
        found.values["dense/kernel"], given["dense_17/kernel"]
    )
    assert found.words == (
        "4 of 4 weights of the model (27 of 27 numbers) begin with those of "
        "runs/a."
    )


def test_the_same_weights_have_one_hash_wherever_they_lie():
    given = stored()
    again = {
        name.replace("17", "5"): array
        for name, array in reversed(list(given.items()))
    }
    other = {**given, "logits/bias": given["logits/bias"] + 1}
    hashes = [
        initial_weights.match(two_layers(), each, place).sha256
        for each, place in ((given, "a"), (again, "b"), (other, "a"))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_last_layer_for_other_classes_is_drawn_and_that_is_said():
    found = initial_weights.match(two_layers(outputs=5), stored(), "a")
    assert list(found.values) == ["dense/kernel", "dense/bias"]
    assert found.words == (
        "2 of 4 weights of the model (12 of 37 numbers) begin with those of "
        "a. Of another shape there, and drawn: logits/kernel [4, 5] (there "
        "[4, 3]), logits/bias [5] (there [3])."
    )


def test_up_to_five_that_are_missing_are_named():
    model = tf.keras.Sequential(
        [
            tf.keras.Input([2]),
            tf.keras.layers.Dense(4),
            *(tf.keras.layers.Dense(2, name=f"new{i}") for i in "abcd"),
        ]
    )
    found = initial_weights.match(model, stored(), "a")
    assert found.words.endswith(
        "Not there, and drawn: newa/kernel, newa/bias, newb/kernel, "
        "newb/bias, newc/kernel and 3 more."
    )


@pytest.mark.parametrize(
    ("here", "there"),
    [("", "outer/inner/"), ("within/", ""), ("within/", "within/")],
)
def test_a_name_may_stand_within_the_path_of_the_other(here, there):
    given = {
        f"{there}logits/bias": np.ones([3], np.float32),
        "else/kernel": np.ones([4, 3], np.float32),
    }
    found = initial_weights.match(two_layers(prefix=here), given, "a")
    assert list(found.values) == [f"{here}logits/bias"]


def test_what_two_could_be_is_neither():
    given = {
        "left/logits/bias": np.ones([3], np.float32),
        "right/logits/bias": np.zeros([3], np.float32),
        "dense/bias": np.zeros([4], np.float32),
    }
    found = initial_weights.match(two_layers(), given, "a")
    assert list(found.values) == ["dense/bias"]
    assert "logits/bias" in found.words


def test_without_a_match_both_sides_are_named():
    given = {f"conv{i}/kernel": np.zeros([2], np.float32) for i in range(7)}
    with pytest.raises(errors.ConfigError) as caught:
        initial_weights.match(two_layers(), given, "there")
    assert str(caught.value) == (
        "--init_from=there has none of the model's 4 weights: the model has "
        "dense/kernel [2, 4], dense/bias [4], logits/kernel [4, 3], "
        "logits/bias [3], and that has conv0/kernel [2], conv1/kernel [2], "
        "conv2/kernel [2], conv3/kernel [2], conv4/kernel [2] and 2 more; name "
        "a model with the same layers, or give layers the same names."
    )


def test_weights_that_have_their_values_already_are_left_out():
    found = initial_weights.match(two_layers(), stored(), "a", "dense")
    assert list(found.values) == ["logits/kernel", "logits/bias"]
    assert found.words.startswith("2 of 2 weights")
