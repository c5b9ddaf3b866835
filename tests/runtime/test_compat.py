"""The names that are not public, each asked for what we need of it.

If an upgrade of TFF, TensorFlow or Keras breaks one of these, mend
`runtime/compat.py`; nothing else uses such names.
"""

import ast
import importlib.util
import inspect
import os
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.blocks import drawn_block
from tests.testing.scripts import ROOT
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ClientConfig, ServerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.evaluation import central
from tff_pipeline.runtime import compat
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.tasks.task import Task


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


def test_functions_of_tff_are_not_rewritten_and_layers_are():
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


@pytest.mark.parametrize("module", compat._PLAIN_MODULES)
def test_modules_that_are_not_rewritten_are_there(module):
    assert importlib.util.find_spec(module.rstrip(".")) is not None


def test_a_plain_function_is_not_rewritten_and_the_layer_it_calls_is():
    def through_a_plain_function(look):
        layer = Branching(look)

        @tf.function
        @compat.plain
        def graph(x):
            return layer(x)

        return graph(tf.ones([1, 2]))

    assert rewritten(through_a_plain_function) >= {"call"}
    assert "graph" not in rewritten(through_a_plain_function)
    assert rewritten(lambda look: tf.function(look)(1.0)) == set()


def test_a_plain_layer_keeps_its_signature():
    class Sum(tf.keras.layers.Layer):
        @compat.plain
        def call(self, x, mask=None, training=False):
            del mask
            return tf.reduce_sum(x) if training else x

    x = tf.ones([2, 2])
    assert Sum()(x, training=True) == 4
    assert Sum()(x).shape == [2, 2]


BRANCHING_LOSS = """
import tensorflow as tf


class Loss(tf.keras.losses.Loss):
    def call(self, y_true, y_pred):
        error = tf.reduce_mean(tf.square(y_true - y_pred))
        if error > 1.0:
            error = tf.sqrt(error)
        return error
"""


def test_a_loss_among_our_tasks_may_branch_on_tensors(tmp_path, monkeypatch):
    """In training, in evaluation and in the same as a loss of a user's own."""
    name = "tff_pipeline.tasks.branching_loss"
    path = tmp_path / "branching_loss.py"
    path.write_text(BRANCHING_LOSS)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)

    def model_fn():
        ones = tf.keras.initializers.Ones()
        return tf.keras.Sequential(
            [
                tf.keras.Input([2]),
                tf.keras.layers.Dense(
                    1, use_bias=False, kernel_initializer=ones
                ),
            ]
        )

    x = np.float32([[1, 2], [3, 4]])
    near, far = np.float32([[2.5], [6.5]]), np.float32([[0], [4]])
    for y, expected in ((near, 0.25), (far, 3.0)):
        examples = Examples(x, y)
        task = Task(
            "branching",
            InMemoryData(examples, {"a": np.arange(2)}),
            examples,
            model_fn,
            loss_fn=module.Loss,
            metrics_fn=list,
        )
        weights = [np.ones([2, 1], np.float32)]
        weights = tff.learning.models.ModelWeights(weights, [])
        evaluated = central.Evaluator(task).evaluate(weights, examples)
        assert evaluated["loss"] == expected
        clients = ClientConfig(batch_size=2)
        process = fed_avg.build(task.tff_model_fn, clients, ServerConfig())
        with InProcessContext(1):
            state = process.set_model_weights(process.initialize(), weights)
            block = drawn_block(examples)
            metrics = process.next(state, [block]).metrics
        assert metrics["client_work"]["train"]["loss"] == expected


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
    assert compat.keras_model(wrapped) is model
    (layer,) = compat.random_layers(wrapped)
    assert isinstance(layer, tf.keras.layers.Dropout)


def test_a_layer_draws_from_the_generator_that_replaces_its_own():
    class Zeros(compat.RandomGenerator):
        def dropout(self, inputs, rate, noise_shape=None):
            del rate, noise_shape
            return 0 * inputs

    layer = tf.keras.layers.Dropout(0.5)
    compat.replace_generator(layer, Zeros())
    assert not tf.reduce_any(layer(tf.ones([100]), training=True) != 0)


def test_the_next_seed_is_that_of_the_layers_generator():
    class Seeds(compat.RandomGenerator):
        def __init__(self):
            pass

        def make_seed_for_stateless_op(self):
            return tf.constant([3, 4], tf.int64)

    layer = tf.keras.layers.Dropout(0.5)
    compat.replace_generator(layer, Seeds())
    assert compat.next_seed(layer).numpy().tolist() == [3, 4]


def test_all_layers_are_those_within_recurrent_ones_too():
    cell = tf.keras.layers.LSTMCell(2, dropout=0.5)
    model = tf.keras.Sequential(
        [tf.keras.Input([None, 3]), tf.keras.layers.RNN(cell)]
    )
    model(tf.ones([1, 2, 3]), training=True)
    assert any(layer is cell for layer in compat.all_layers(model))


def test_resnet18_gives_probabilities():
    model = compat.resnet18([8, 8, 3], 10)
    assert model.output_shape == (None, 10)
    assert model.layers[-1].activation is tf.keras.activations.softmax


def test_baselines_make_ids_of_texts():
    ids = compat.baseline_characters(5)({"snippets": tf.constant("to be")})
    assert ids.dtype == tf.int64
    assert len(ids) % 5 == 0
    assert not tf.reduce_all(ids == 0)
    to_ids = compat.baseline_words(["the", "cat"], 4)
    ids = to_ids({"tokens": tf.constant("the cat the dog")})
    assert ids[1] == ids[3] != ids[2]
    tokens, tags = compat.baseline_tags(["the", "cat"], ["pets", "law"])(
        {
            "tokens": tf.constant("the cat"),
            "title": tf.constant("cat"),
            "tags": tf.constant("law"),
        }
    )
    assert tokens.shape == [2] and tf.reduce_all(tokens > 0)
    np.testing.assert_array_equal(tags, [0, 1])


def test_method_of_a_signature_can_be_set(tmp_path):
    module = tf.Module()
    module.double = tf.function(
        lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([])]
    )
    folder = str(tmp_path / "model")
    tf.saved_model.save(module, folder, {"double": module.double})
    before = (tmp_path / "model" / "fingerprint.pb").read_bytes()
    compat.set_signature_method(folder, "double", "some/method")
    assert (tmp_path / "model" / "fingerprint.pb").read_bytes() != before
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        read = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    assert read.signature_def["double"].method_name == "some/method"


def test_a_lite_model_is_read_and_written():
    module = tf.Module()
    module.double = tf.function(
        lambda x: 2 * x, input_signature=[tf.TensorSpec([3], name="x")]
    )
    content = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.double.get_concrete_function()], module
    ).convert()
    model, schema = compat.lite_model(content)
    (operator,) = model.operatorCodes
    assert operator.builtinCode == schema.BuiltinOperator.MUL
    run = tf.lite.Interpreter(
        model_content=compat.lite_content(model)
    ).get_signature_runner()
    (result,) = run(x=np.float32([1, 2, 3])).values()
    np.testing.assert_array_equal(result, [2, 4, 6])


def test_every_function_of_compat_is_called_here():
    """Names that are not public can fail only where they are used."""
    own = {
        name
        for name, value in vars(compat).items()
        if getattr(value, "__module__", None) == compat.__name__
        and not name.startswith("_")
    }
    tree = ast.parse(pathlib.Path(__file__).read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "compat"
    }
    assert own and own <= used


# Packages whose names we use; what of them is public is in these modules.
FOREIGN = ("tensorflow", "tensorflow_federated", "keras", "tensorflow_privacy")
PUBLIC = {"tensorflow", "tensorflow_federated"}
# Documented, though they begin like private ones.
DOCUMENTED = {"_replace", "_fields", "_asdict", "_exit"}
# Of a package that is none of these: uvicorn's, in serving.protocol.
OTHERS = {"_unset_keepalive_if_required"}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def defined(tree):
    """The private names that a module gives to its own things."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")
        ):
            names.add(node.attr)
    return names


def imports(node):
    """The modules that an import statement imports from."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module]
    return []


def private_names(source, inherited=frozenset()):
    """Names that are not public and not of the module itself.

    Args:
      source: Python's text of a module.
      inherited: Private names that it may use on `self`.
    """
    tree = ast.parse(source)
    own = defined(tree) | DOCUMENTED | OTHERS
    for node in ast.walk(tree):
        for name in imports(node):
            if name.split(".")[0] in FOREIGN and name not in PUBLIC:
                yield name
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of_self = isinstance(node.value, ast.Name) and (
                node.value.id in ("self", "cls")
            )
            if node.attr not in (own | inherited if of_self else own):
                yield node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            named = node.func.id in ("getattr", "setattr", "hasattr")
            if named and isinstance(node.args[1], ast.Constant):
                name = node.args[1].value
                if is_private(name) and name not in own:
                    yield name


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import tensorflow as tf\ntf.keras.Model()._layers", ["_layers"]),
        ("from tensorflow.python.eager import context", 1),
        ("import keras.src.backend", 1),
        ("from keras import backend", 1),
        ("import tensorflow_federated.python as tff", 1),
        ("def f(m):\n  m._graph = 1", ["_graph"]),
        ("def f(m):\n  return getattr(m, '_graph', None)", ["_graph"]),
        ("class A(B):\n  def f(self):\n    return self._x", ["_x"]),
        ("class A(B):\n  def f(self):\n    self._x = 1", []),
        ("def f(m):\n  return m._replace(a=1).__class__", []),
    ],
)
def test_private_names_are_recognised(source, names):
    found = list(private_names(source))
    assert found == names or len(found) == names


def test_no_other_module_uses_names_that_are_not_public():
    sources = {
        path: path.read_text()
        for path in pathlib.Path(ROOT, "tff_pipeline").rglob("*.py")
        if path != pathlib.Path(compat.__file__)
    }
    assert len(sources) > 100
    ours = set().union(*(defined(ast.parse(s)) for s in sources.values()))
    private = {
        str(path): names
        for path, source in sources.items()
        if (names := sorted(private_names(source, ours)))
    }
    assert private == {}


def test_a_compiled_model_is_as_if_it_never_was(tmp_path):
    def model():
        inner = tf.keras.Sequential(
            [tf.keras.Input([2]), tf.keras.layers.Dense(2)]
        )
        inner.compile("adam", "mse")
        outer = tf.keras.Sequential([tf.keras.Input([2]), inner])
        outer.compile("adam", "mse")
        return outer

    compiled = model()
    compat.undo_compile(compiled)
    wrapped = tff.learning.models.from_keras_model(
        compiled,
        loss=tf.keras.losses.MeanSquaredError(),
        input_spec=(tf.TensorSpec([None, 2]), tf.TensorSpec([None, 2])),
    )
    assert len(wrapped.trainable_variables) == 2
    path = tf.train.Checkpoint(model=compiled).save(str(tmp_path / "kept"))
    assert "optimizer" not in str(tf.train.list_variables(path))


def test_a_checkpoint_names_its_variables(tmp_path):
    kernel = tf.Variable([1.0, 2.0], name="dense/kernel")
    path = tf.train.Checkpoint(kept=[kernel]).write(str(tmp_path / "new"))
    names = compat.checkpoint_names(tf.train.load_checkpoint(path))
    assert names["kept/0/.ATTRIBUTES/VARIABLE_VALUE"] == "dense/kernel"
    # As TensorFlow 1 wrote it.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("dense/bias", [2])
        session.run(tf.compat.v1.global_variables_initializer())
        path = tf.compat.v1.train.Saver().save(session, str(tmp_path / "old"))
    names = compat.checkpoint_names(tf.train.load_checkpoint(path))
    assert names == {"dense/bias": "dense/bias"}
