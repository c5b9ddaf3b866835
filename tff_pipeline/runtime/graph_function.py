"""TFF's serialised TensorFlow computations as functions of this process.

TFF ships a computation as a GraphDef with bindings that say which tensors are
its parameter and its result. Every call of it starts afresh: variables and
tables are initialised before anything else runs.
"""

import itertools
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import compat

# Operations that hold something from one call to the next, so that threads
# need a copy each.
_STATEFUL = ("VarHandleOp", "HashTableV2", "MutableHashTableV2")
# Operations that need not wait for the initialisation.
_AT_ONCE = ("Placeholder", "VarHandleOp", "Const", "NoOp")


class GraphFunction:
    """A TFF TensorFlow computation; values are nested tuples of tensors."""

    def __init__(self, computation: tff.framework.CompiledComputation):
        self._proto = computation.proto.tensorflow
        self._result_type = computation.type_signature.result
        self._parameters = _tensor_names(self._proto.parameter)
        self._results = _tensor_names(self._proto.result)
        graph = tf.compat.v1.GraphDef()
        self._proto.graph_def.Unpack(graph)
        self._stateful = any(n.op in _STATEFUL for n in _all_nodes(graph))
        self._shared = threading.Lock()
        self._of_thread = threading.local()
        self._of_all: Any = None

    def __call__(self, argument: Any = None) -> Any:
        """Runs it.

        Args:
          argument: Nested tuples of tensors, arrays or datasets, of the
            parameter's structure; ignored where there is no parameter.

        Returns:
          The result, likewise.
        """
        function, dtypes = self._function()
        leaves = list(flatten(argument)) if self._parameters else []
        tensors = [
            value
            if isinstance(value, tf.Tensor)
            else tf.convert_to_tensor(value, dtype)
            for value, dtype in zip(leaves, dtypes)
        ]
        results = function(*tensors)
        return _pack(self._proto.result, self._result_type, iter(results))

    def _function(self) -> Any:
        if self._stateful:
            if not hasattr(self._of_thread, "function"):
                self._of_thread.function = self._import()
            return self._of_thread.function
        with self._shared:
            if self._of_all is None:
                self._of_all = self._import()
        return self._of_all

    def _import(self) -> Any:
        """A concrete function of the graph, under names of its own."""
        graph = tf.compat.v1.GraphDef()
        self._proto.graph_def.Unpack(graph)
        _rename(graph, f"_{uuid.uuid4().hex}")
        if self._proto.initialize_op:
            _initialize_first(graph, self._proto.initialize_op)
        compat.register_functions(graph.library)
        nodes = {node.name: node for node in graph.node}
        specs = []
        for name in self._parameters:
            attributes = nodes[name.partition(":")[0]].attr
            dtype = tf.dtypes.as_dtype(attributes["dtype"].type)
            shape = tf.TensorShape(attributes["shape"].shape)
            # A dataset's placeholder is a scalar variant, and says nothing.
            specs.append(
                tf.TensorSpec([] if dtype == tf.variant else shape, dtype)
            )

        @tf.function(input_signature=specs, autograph=False)
        def run(*arguments: tf.Tensor) -> list[tf.Tensor]:
            return tf.graph_util.import_graph_def(
                graph,
                input_map=dict(zip(self._parameters, arguments)),
                return_elements=self._results,
                name="",
            )

        return run.get_concrete_function(), [spec.dtype for spec in specs]


def flatten(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples; a dataset's leaf is its variant tensor."""
    if isinstance(value, tuple):
        for element in value:
            yield from flatten(element)
    elif isinstance(value, tf.data.Dataset):
        yield tf.data.experimental.to_variant(value)
    else:
        yield value


def _tensor_names(binding: Any) -> list[str]:
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        return [binding.tensor.tensor_name]
    if kind == "sequence":
        return [binding.sequence.variant_tensor_name]
    return [
        name
        for element in binding.struct.element
        for name in _tensor_names(element)
    ]


def _pack(binding: Any, type_spec: tff.Type, leaves: Iterator[Any]) -> Any:
    """The inverse of `flatten`, for a value of `type_spec`."""
    kind = binding.WhichOneof("binding")
    if kind == "tensor":
        return next(leaves)
    if kind == "sequence":
        return tf.data.experimental.from_variant(
            next(leaves), tff.types.type_to_tf_tensor_specs(type_spec.element)
        )
    types = [t for _, t in tff.structure.iter_elements(type_spec)]
    elements = zip(binding.struct.element, types)
    return tuple(_pack(element, t, leaves) for element, t in elements)


def _all_nodes(graph: Any) -> Iterator[Any]:
    functions = (function.node_def for function in graph.library.function)
    return itertools.chain(graph.node, *functions)


def _rename(graph: Any, suffix: str) -> None:
    """Gives all functions and resources of `graph` names that none else has.

    This process has one namespace for either, and two copies of one graph
    must not share variables.
    """
    library = graph.library
    names = {
        f.signature.name: f.signature.name + suffix for f in library.function
    }

    def in_attribute(value: Any) -> None:
        kind = value.WhichOneof("value")
        if kind == "func":
            value.func.name = names.get(value.func.name, value.func.name)
            for nested in value.func.attr.values():
                in_attribute(nested)
        elif kind == "list":
            for function in value.list.func:
                function.name = names.get(function.name, function.name)
        elif kind == "s":
            # Some operations name a function in a plain string.
            text = value.s.decode("latin1")
            value.s = names.get(text, text).encode("latin1")

    for function in library.function:
        function.signature.name = names[function.signature.name]
        for value in function.attr.values():
            in_attribute(value)
    for gradient in library.gradient:
        gradient.function_name = names.get(
            gradient.function_name, gradient.function_name
        )
        gradient.gradient_func = names.get(
            gradient.gradient_func, gradient.gradient_func
        )
    for node in _all_nodes(graph):
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            in_attribute(value)
        if node.op in _STATEFUL:
            node.attr["shared_name"].s += suffix.encode()


def _initialize_first(graph: Any, initialize_op: str) -> None:
    """Makes all of `graph` wait until `initialize_op` has run."""
    nodes = {node.name: node for node in graph.node}
    part_of_it: set[str] = set()
    waiting = [initialize_op]
    while waiting:
        name = waiting.pop()
        if name not in part_of_it:
            part_of_it.add(name)
            waiting += [
                source.lstrip("^").partition(":")[0]
                for source in nodes[name].input
            ]
    for node in graph.node:
        if node.name not in part_of_it and node.op not in _AT_ONCE:
            node.input.append(f"^{initialize_op}")
