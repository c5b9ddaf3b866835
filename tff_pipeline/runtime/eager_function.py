"""A TFF computation on datasets, as a concrete function of this process.

A dataset stays what it is, whatever it does and wherever its data lie; it is
handed over as TensorFlow's own variant.
"""

import uuid
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import compat, elements, graphs


class EagerFunction:
    """A function of nested tuples of arrays and datasets, and to such.

    It can be called by several threads at once.
    """

    def __init__(self, computation: graphs.Computation):
        """Takes any computation; the graph is imported at the first call."""
        self._computation = computation
        self._copies = graphs.Copies(computation.graph, self._import)

    def __call__(self, argument: Any = None) -> Any:
        """Runs the computation on nested tuples of the parameter's leaves."""
        function, dtypes = self._copies.get()
        signature = self._computation.signature
        leaves = zip(
            graphs.flatten(argument), graphs.leaf_types(signature.parameter)
        )
        tensors = [
            tf.convert_to_tensor(_tensor(value, type_spec), dtype)
            for (value, type_spec), dtype in zip(leaves, dtypes)
        ]
        results = zip(function(*tensors), graphs.leaf_types(signature.result))
        return graphs.pack(
            signature.result,
            (_value(tensor, type_spec) for tensor, type_spec in results),
        )

    def _import(self) -> Any:
        """Makes a concrete function of the graph, under names of its own."""
        computation = self._computation
        graph = tf.compat.v1.GraphDef()
        graph.CopyFrom(computation.graph)
        _rename(graph, f"_{uuid.uuid4().hex}")
        compat.register_functions(graph.library)
        nodes = {node.name: node for node in graph.node}
        names = [
            graphs.tensor_name(leaf) for leaf in self._computation.parameters
        ]
        specs = []
        for name in names:
            attributes = nodes[name.partition(":")[0]].attr
            dtype = tf.dtypes.as_dtype(attributes["dtype"].type)
            shape = tf.TensorShape(attributes["shape"].shape)
            # A dataset's placeholder is a scalar variant, and says nothing.
            specs.append(
                tf.TensorSpec([] if dtype == tf.variant else shape, dtype)
            )

        def run(*arguments: tf.Tensor) -> list[tf.Tensor]:
            return tf.graph_util.import_graph_def(
                graph,
                input_map=dict(zip(names, arguments)),
                return_elements=[
                    graphs.tensor_name(leaf) for leaf in computation.results
                ],
                name="",
            )

        function = tf.function(run, input_signature=specs, autograph=False)
        return function.get_concrete_function(), [spec.dtype for spec in specs]


def _tensor(value: Any, type_spec: tff.Type) -> Any:
    """Makes a variant of a dataset or a list of elements; leaves arrays."""
    if not isinstance(type_spec, tff.SequenceType):
        return value
    if not isinstance(value, tf.data.Dataset):
        value = elements.dataset(value, type_spec.element)
    return tf.data.experimental.to_variant(value)


def _value(tensor: tf.Tensor, type_spec: tff.Type) -> Any:
    if isinstance(type_spec, tff.SequenceType):
        return tf.data.experimental.from_variant(
            tensor, elements.specs(type_spec.element)
        )
    return np.asarray(tensor)


def _rename(graph: Any, suffix: str) -> None:
    """Gives functions and resources of `graph` names that no others have.

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
    for node in graphs.all_nodes(graph):
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            in_attribute(value)
        if node.op in graphs.STATEFUL:
            node.attr["shared_name"].s += suffix.encode()
