"""Holds all uses of names of TFF, TensorFlow and Keras that are not public.

An upgrade that moves one of them breaks this module's test, and nothing else.
"""

import atexit
import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow.core.protobuf import (
    config_pb2,
    saved_model_pb2,
    trackable_object_graph_pb2,
)
from tensorflow.python.autograph.core import ag_ctx
from tensorflow.python.autograph.core import config as autograph_config
from tensorflow.python.autograph.impl import api as autograph
from tensorflow.python.eager import context
from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

from tff_pipeline.runtime import default_context

# Here, for every module that runs computations of TFF imports this one.
atexit.register(default_context.let_go)


def worker_binary() -> str:
    """Returns the path of the executor service that the TFF wheel carries.

    Raises:
      RuntimeError: If this TFF has none there.
    """
    path = os.path.join(os.path.dirname(tff.__file__), "data", "worker_binary")
    if not os.access(path, os.X_OK):
        raise RuntimeError(
            f"{path} is missing; tff_pipeline is made for TFF 0.87.0, whose "
            f"Linux wheel has it, and this is TFF {tff.__version__}."
        )
    return path


# Modules of others, which cannot be marked with `plain`, in which no function
# has an `if` or a `for` on tensors.
_PLAIN_MODULES = (
    "tensorflow_federated.python.learning.metrics.",
    "tensorflow_federated.python.learning.models.",
    "tensorflow.python.saved_model.",
    "keras.src.saving.",
)
Array = npt.NDArray[Any]
Encoder = Callable[[Any], Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def plain(function: _Function) -> _Function:
    """Marks a function that AutoGraph calls as it is, without rewriting it.

    Rewriting costs about 0.1 seconds a function at every start. The mark suits
    a function without `if` and `for` on tensors. Unlike
    `tf.autograph.experimental.do_not_convert` and `autograph=False`, it leaves
    AutoGraph on for the layers and losses that the function calls.

    Args:
      function: A function that is called while a graph is made: one below
        `@tf.function`, or `call` of a Keras layer or loss.

    Returns:
      `function` itself.
    """
    return autograph.autograph_artifact(function)


@contextlib.contextmanager
def without_rewriting() -> Iterator[None]:
    """Makes graphs of TFF's and Keras's own functions without rewriting them.

    AutoGraph rewrites Python's `if` and `for` in every function that it meets,
    which takes seconds. TFF has none on tensors but in functions that it hands
    over to AutoGraph; these are rewritten still, and so are models, layers and
    losses, which Keras hands over. AutoGraph remembers, after the block too,
    which functions it did not have to rewrite in it.
    """
    rules = autograph_config.CONVERSION_RULES
    spared = autograph_config.DoNotConvert("tensorflow_federated")
    rewrite = autograph._convert_actual

    def convert(function: Any, program: Any) -> Any:
        function = getattr(function, "__func__", function)
        if not f"{function.__module__}.".startswith(_PLAIN_MODULES):
            return rewrite(function, program)

        @plain
        def unchanged(*args: Any, **kwargs: Any) -> Any:
            # As within a rewritten function: what this one hands over to
            # AutoGraph will be rewritten.
            with ag_ctx.ControlStatusCtx(
                ag_ctx.Status.ENABLED, program.options
            ):
                return function(*args, **kwargs)

        unchanged.ag_source_map = {}  # type: ignore[attr-defined]
        return unchanged

    autograph_config.CONVERSION_RULES = (spared, *rules)
    autograph._convert_actual = convert
    try:
        yield
    finally:
        autograph_config.CONVERSION_RULES = rules
        autograph._convert_actual = rewrite


def register_functions(library: Any) -> None:
    """Makes the functions of a GraphDef's library known to this process.

    A graph that is imported into a `tf.function` brings its nodes along, but
    not the functions that they call by name.

    Args:
      library: The `FunctionDefLibrary` of the GraphDef.
    """
    for function in library.function:
        context.context().add_function_def(function)


def inline_callable(
    session: tf.compat.v1.Session,
    feeds: Sequence[tf.Tensor],
    fetches: Sequence[tf.Tensor],
    targets: Sequence[tf.Operation] = (),
) -> Callable[..., Sequence[Array]]:
    """Makes a function from arrays for `feeds` to arrays of `fetches`.

    It runs in the thread that calls it, with neither the checks nor the thread
    pool of `Session.run`.

    Args:
      session: A session with the graph.
      feeds: Tensors whose values are the function's arguments.
      fetches: Tensors whose values it returns.
      targets: Operations that it runs too.
    """
    options = config_pb2.CallableOptions(
        feed=[tensor.name for tensor in feeds],
        fetch=[tensor.name for tensor in fetches],
        target=[operation.name for operation in targets],
        run_options=config_pb2.RunOptions(inter_op_thread_pool=-1),
    )
    return session._make_callable_from_options(options)


class RandomGenerator:
    """Base class of generators that replace the one of a Keras layer."""

    def _maybe_init(self) -> None:
        """Does nothing; Keras calls it where a layer is first called late."""


def keras_model(model: tff.learning.models.VariableModel) -> tf.keras.Model:
    """Returns the Keras model within a model of TFF.

    Args:
      model: What `tff.learning.models.from_keras_model` made, or a `SentModel`
        of this package.
    """
    return model._keras_model


def random_layers(model: tff.learning.models.VariableModel) -> list[Any]:
    """Returns the layers of a Keras model that draw numbers in training.

    Args:
      model: A model of TFF; one that wraps no Keras model has no such layers.
    """
    keras_model = getattr(model, "_keras_model", None)
    if keras_model is None:
        return []
    return [
        layer
        for layer in all_layers(keras_model)
        if hasattr(layer, "_random_generator")
    ]


def next_seed(layer: Any) -> tf.Tensor:
    """Returns the seed of a random layer's next draw, int64 [2].

    Args:
      layer: A Keras layer such as Dropout.
    """
    return layer._random_generator.make_seed_for_stateless_op()


def replace_generator(layer: Any, generator: RandomGenerator) -> None:
    """Lets a layer of `random_layers` draw its numbers from `generator`.

    Args:
      layer: A Keras layer such as Dropout.
      generator: Has the methods of `tf.keras.backend.RandomGenerator` that the
        layer calls.
    """
    layer._random_generator = generator


def all_layers(model: tf.keras.Model) -> list[Any]:
    """Returns the layers of a Keras model, those within layers too.

    `submodules` would fail where recurrent cells keep masks.

    Args:
      model: A model that has been built.
    """
    return list(model._flatten_layers(include_self=False))


def undo_compile(model: tf.keras.Model) -> None:
    """Takes back what `compile` did to a model and the models within it.

    TFF takes no compiled model, and the optimizer would be saved with it.

    Args:
      model: A model that may be compiled.
    """
    inner = all_layers(model) if model.built else model.layers
    for each in (model, *inner):
        if getattr(each, "_is_compiled", False):
            each._is_compiled = False
            each.optimizer = None
            each._delete_tracking("optimizer")
            each.loss = None
            each.compiled_loss = None
            each.compiled_metrics = None


def resnet18(shape: Sequence[int], classes: int) -> tf.keras.Model:
    """Makes TFF's ResNet-18 with group normalization, ending in a softmax.

    Args:
      shape: Height, width and channels of the images.
      classes: The number of outputs.
    """
    models = tff.simulation.models.resnet_models
    return models.create_resnet18(tuple(shape), classes)


_SHAKESPEARE = tff.simulation.baselines.shakespeare
_STACKOVERFLOW = tff.simulation.baselines.stackoverflow


def baseline_characters(length: int) -> Encoder:
    """Returns the function by which TFF's Shakespeare baseline makes ids.

    Args:
      length: The number of padded ids is a multiple of it.

    Returns:
      A function from {"snippets": a string} to int64 ids; 0 is padding.
    """
    make = _SHAKESPEARE.char_prediction_preprocessing._build_tokenize_fn
    return make(length)


def baseline_words(words: Sequence[str], length: int) -> Encoder:
    """Returns the function by which TFF's Stack Overflow baseline makes ids.

    Args:
      words: The vocabulary.
      length: How many words of a sentence are kept.

    Returns:
      A function from {"tokens": a string} to at most `length` + 1 int64 ids.
    """
    make = _STACKOVERFLOW.word_prediction_preprocessing.build_to_ids_fn
    return make(list(words), length)


def baseline_tags(words: Sequence[str], tags: Sequence[str]) -> Encoder:
    """Returns the function by which TFF's tag prediction makes its bags.

    Args:
      words: The vocabulary.
      tags: The tags that are predicted.

    Returns:
      A function from {"tokens", "title", "tags": a string each} to float32
      arrays of shape [words] and [tags].
    """
    make = _STACKOVERFLOW.tag_prediction_preprocessing.build_to_ids_fn
    return make(list(words), list(tags))


def set_signature_method(folder: str, signature: str, method: str) -> None:
    """Changes the method of a SavedModel's signature, and its fingerprint.

    Args:
      folder: The SavedModel.
      signature: The name of one of its signatures.
      method: The method that TF Serving is to see, such as
        "tensorflow/serving/predict".
    """
    path = pathlib.Path(folder, "saved_model.pb")
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (graph,) = saved_model.meta_graphs
    graph.signature_def[signature].method_name = method
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
    fingerprint = fingerprinting.CreateFingerprintDef(folder)
    path.with_name("fingerprint.pb").write_bytes(fingerprint)


_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def checkpoint_names(reader: Any) -> dict[str, str]:
    """Returns the names of the variables of a TensorFlow checkpoint.

    Args:
      reader: What `tf.train.load_checkpoint` returned.

    Returns:
      The checkpoint's key -> the variable's name, such as "dense/kernel"; the
      keys themselves for a checkpoint of TensorFlow 1.
    """
    keys = reader.get_variable_to_shape_map()
    if _OBJECT_GRAPH not in keys:
        return {key: key for key in keys}
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor(_OBJECT_GRAPH)
    )
    return {
        attribute.checkpoint_key: attribute.full_name
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.name == "VARIABLE_VALUE"
    }


def lite_model(content: bytes) -> tuple[Any, Any]:
    """Parses a TensorFlow Lite file into objects that can be changed.

    Args:
      content: The file, a flatbuffer.

    Returns:
      (the model as an object; the module with the classes of its parts).
    """
    # Here, for only an export needs them and they are large.
    from tensorflow.lite.python import schema_py_generated
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    return model, schema_py_generated


def lite_content(model: Any) -> bytes:
    """Returns a model of `lite_model` as the content of a file."""
    from tensorflow.lite.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
