"""Weights frozen in models whose functions know nothing of it."""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import freezing, frozen, initial_weights
from tff_pipeline.models.weight_groups import weight_groups

layers = tf.keras.layers
KERNEL = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def sequential():
    return tf.keras.Sequential(
        [tf.keras.Input([2]), layers.Dense(2), layers.Dense(2), layers.Dense(3)]
    )


class Subclassed(tf.keras.Model):
    """Two dense layers, made as the model is called."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        return self.second(self.first(x))


def subclassed():
    model = Subclassed()
    model(tf.zeros([1, 2]))
    return model


def recurrent():
    cells = layers.StackedRNNCells([layers.GRUCell(2), layers.GRUCell(2)])
    return tf.keras.Sequential(
        [tf.keras.Input([4, 1]), layers.RNN(cells), layers.Dense(2)]
    )


def named_after(build_fn):
    return initial_weights.names_by_group(build_fn())


def stored(tmp_path, *names, values=KERNEL):
    return frozen.store(
        str(tmp_path / "stored"), {name: values for name in names}
    )


def test_a_layer_without_a_name_is_found_in_every_model(tmp_path):
    before = sequential()
    weights = stored(tmp_path, "dense_1/kernel")
    build = freezing.freeze(sequential, weights)
    for model in (build(), build()):
        # Keras goes on with its numbers.
        assert model.layers[1].name != before.layers[1].name
        assert weight_groups(model).frozen == [model.layers[1].kernel]
        assert named_after(lambda model=model: model) == {
            "trainable": (
                *("dense/kernel", "dense/bias", "dense_1/bias"),
                *("dense_2/kernel", "dense_2/bias"),
            ),
            "non_trainable": (),
            "frozen": ("dense_1/kernel",),
        }
        first, bias = np.array([[5.0, 6.0]], "f4"), np.zeros([2], "f4")
        np.testing.assert_allclose(
            model.layers[1](first), first @ KERNEL + bias
        )


def test_the_first_model_of_a_process_makes_more_variables(tmp_path):
    """Makes other variables within the function, as Keras does once."""
    more = [3]

    def build_fn():
        kept = [tf.Variable(0.0) for _ in range(more.pop() if more else 0)]
        model = sequential()
        model.kept = kept
        return model

    build = freezing.freeze(build_fn, stored(tmp_path, "dense/kernel"))
    model = build()
    assert weight_groups(model).frozen == [model.layers[0].kernel]


@pytest.mark.parametrize(
    ("build_fn", "name"),
    [
        (sequential, "dense_1/kernel"),
        (subclassed, "subclassed/dense_1/kernel"),
    ],
)
def test_a_graph_holds_the_path(tmp_path, build_fn, name):
    weights = stored(tmp_path, name)
    build = freezing.freeze(build_fn, weights)
    with tf.Graph().as_default() as graph:
        model = build()
    (constant,) = (
        node
        for node in graph.as_graph_def().node
        if node.op == "ImmutableConst"
    )
    path = constant.attr["memory_region_name"].s.decode()
    assert path == weights.arrays[name].path
    (variable,) = weight_groups(model).frozen
    assert frozen.weights_of(variable) is weights


def test_weights_of_cells_are_found(tmp_path):
    names = named_after(recurrent)["trainable"]
    (name,) = (
        each for each in names if each.endswith("gru_cell_1/recurrent_kernel")
    )
    values = np.arange(12, dtype=np.float32).reshape(2, 6)
    build = freezing.freeze(recurrent, stored(tmp_path, name, values=values))
    (variable,) = weight_groups(build()).frozen
    np.testing.assert_array_equal(variable.numpy(), values)


def test_mixed_precision(tmp_path):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        build = freezing.freeze(sequential, stored(tmp_path, "dense/kernel"))
        groups = weight_groups(build())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert [v.shape for v in groups.frozen] == [(2, 2)]
    assert len(groups.trainable) == 5


def test_other_weights_are_drawn_as_without(tmp_path):
    build = freezing.freeze(sequential, stored(tmp_path, "dense/kernel"))
    tf.keras.utils.set_random_seed(5)
    plain = sequential().get_weights()
    tf.keras.utils.set_random_seed(5)
    with_frozen = weight_groups(build()).trainable
    assert len(with_frozen) == 5
    for one, other in zip(plain[1:], with_frozen):
        np.testing.assert_array_equal(one, other.numpy())


def test_what_a_function_loads_does_not_replace_what_is_stored(tmp_path):
    def build_fn():
        model = sequential()
        model.set_weights([np.full(w.shape, 9.0) for w in model.weights])
        return model

    build = freezing.freeze(build_fn, stored(tmp_path, "dense/kernel"))
    model = build()
    np.testing.assert_array_equal(model.layers[0].kernel.numpy(), KERNEL)
    np.testing.assert_array_equal(model.layers[1].kernel.numpy(), 9.0)


@pytest.mark.parametrize("method", ["assign", "assign_add"])
def test_a_built_model_does_not_change_it(tmp_path, method):
    build = freezing.freeze(sequential, stored(tmp_path, "dense/kernel"))
    (variable,) = weight_groups(build()).frozen
    with pytest.raises(errors.ConfigError, match="updates its variable dense/"):
        getattr(variable, method)(tf.ones([2, 2]))
    np.testing.assert_array_equal(variable.numpy(), KERNEL)


def test_two_weights_of_one_name_are_refused(tmp_path):
    class Twins(Subclassed):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(2, name="same")
            self.second = layers.Dense(2, name="same")

    def build_fn():
        model = Twins()
        model(tf.zeros([1, 2]))
        return model

    weights = stored(tmp_path, "twins/same/kernel")
    with pytest.raises(errors.ConfigError, match="two weights twins/same/ker"):
        freezing.freeze(build_fn, weights)


def test_a_layer_of_elsewhere_is_refused(tmp_path):
    outside = layers.Dense(2, name="outside")
    outside(tf.zeros([1, 2]))

    def build_fn():
        return tf.keras.Sequential(
            [tf.keras.Input([2]), outside, layers.Dense(2)]
        )

    weights = stored(tmp_path, "outside/kernel")
    with pytest.raises(errors.ConfigError, match="function did not make it"):
        freezing.freeze(build_fn, weights)


def test_a_model_that_is_another_each_time_is_refused(tmp_path):
    turns = iter([False, True])

    def build_fn():
        x, parts = tf.keras.Input([2]), [layers.Dense(2), layers.Dense(2)]
        used = reversed(parts) if next(turns) else parts
        return tf.keras.Model(x, sum(part(x) for part in used))

    build = freezing.freeze(build_fn, stored(tmp_path, "dense/kernel"))
    with pytest.raises(errors.ConfigError, match="made other variables than"):
        build()


def test_arrays_of_another_model_are_refused(tmp_path):
    weights = stored(tmp_path, "other/kernel")
    with pytest.raises(errors.ConfigError, match="other/kernel, which is no w"):
        freezing.freeze(sequential, weights)
    shaped = frozen.store(str(tmp_path / "b"), {"dense/kernel": KERNEL[:1]})
    with pytest.raises(errors.ConfigError, match=r"of shape \(1, 2\)"):
        freezing.freeze(sequential, shaped)()
