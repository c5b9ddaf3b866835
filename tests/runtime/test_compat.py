"""The names that are not public, each asked for what we need of it.

If an upgrade of TFF, TensorFlow or Keras breaks one of these, mend
`runtime/compat.py`; nothing else uses such names.
"""

import inspect
import os
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.scripts import ROOT
from tff_pipeline.runtime import compat


def test_tff_carries_a_worker_that_can_be_run():
    assert os.access(compat.worker_binary(), os.X_OK)


def rewritten(call):
    """The functions that AutoGraph rewrote on the way to `call`'s argument."""
    found = set()

    @tf.autograph.experimental.do_not_convert
    def look(value):
        found.update(frame.function for frame in inspect.stack())
        return value

    call(look)
    # What it rewrites it calls so.
    return {name[4:] for name in found if name.startswith("tf__")}


class Branching(tf.keras.layers.Layer):
    """A layer that only AutoGraph can make a graph of."""

    def __init__(self, look):
        super().__init__()
        self._look = look

    def call(self, x):
        if tf.reduce_sum(x) > 0:
            x = self._look(2 * x)
        return x


def through_tff(look):
    @tf.function
    def graph():
        pair = tff.structure.Struct([(None, tf.constant(1.0))])
        return tff.structure.map_structure(look, pair)[0]

    return graph()


def through_a_model(look):
    model = tff.learning.models.from_keras_model(
        tf.keras.Sequential([tf.keras.Input([2]), Branching(look)]),
        loss=tf.keras.losses.MeanSquaredError(),
        input_spec=(tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])),
    )
    return model.forward_pass((tf.ones([1, 2]), tf.ones([1, 2]))).loss


def test_what_is_ours_and_tffs_is_not_rewritten():
    rules = compat.autograph_config.CONVERSION_RULES
    rewrite = compat.autograph._convert_actual
    with compat.without_rewriting():
        assert rewritten(through_tff) == {"graph"}
        assert rewritten(through_a_model) >= {"call"}
        assert "forward_pass" not in rewritten(through_a_model)
    assert compat.autograph_config.CONVERSION_RULES is rules
    assert compat.autograph._convert_actual is rewrite
    # But for what AutoGraph remembers.
    assert "forward_pass" in rewritten(through_a_model)


def test_registered_functions_can_be_called_from_an_imported_graph():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [])
        y = tf.function(lambda v: v * 2.0, autograph=False)(x)
        definition = graph.as_graph_def()
    compat.register_functions(definition.library)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def run(value):
        return tf.graph_util.import_graph_def(
            definition, {x.name: value}, [y.name], name=""
        )

    assert run(tf.constant(3.0))[0].numpy() == 6.0


def test_inline_callable_runs_a_session_on_arrays():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [None])
        y = tf.while_loop(
            lambda i, _: i < 3, lambda i, v: (i + 1, v * 2.0), (0, x)
        )[1]
    session = tf.compat.v1.Session(graph=graph)
    (result,) = compat.inline_callable(session, [x], [y])(
        np.array([1, 2], np.float32)
    )
    np.testing.assert_array_equal(result, [8, 16])


def test_random_layers_are_found_however_deep_they_are():
    inner = tf.keras.Sequential(
        [tf.keras.layers.Dense(4), tf.keras.layers.Dropout(0.5)]
    )
    model = tf.keras.Sequential(
        [tf.keras.Input([3]), inner, tf.keras.layers.Dense(2)]
    )
    wrapped = tff.learning.models.from_keras_model(
        model,
        loss=tf.keras.losses.MeanSquaredError(),
        input_spec=(tf.TensorSpec([None, 3]), tf.TensorSpec([None, 2])),
    )
    (layer,) = compat.random_layers(wrapped)
    assert isinstance(layer, tf.keras.layers.Dropout)


def test_no_other_module_imports_what_is_not_public():
    for path in pathlib.Path(ROOT, "tff_pipeline").rglob("*.py"):
        if path.name == "compat.py":
            continue
        text = path.read_text()
        assert "tensorflow_federated.python" not in text, path
        assert "from tensorflow.python" not in text, path
        assert "keras.src" not in text, path
