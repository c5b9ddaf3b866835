"""TFF's serialised TensorFlow computations, as graphs.

TFF ships a computation as a GraphDef with bindings that say which tensors are
its parameter and its result. Here such values are nested tuples of arrays, with
a dataset, or a list of its elements, where the type is a sequence.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

# Operations that hold something that each call initialises, so that threads
# need a copy each.
STATEFUL = ("VarHandleOp", "HashTableV2")
# Operations that hold something that no call takes away again, so that each
# needs a copy.
_KEEPING = re.compile(
    r"(Mutable.*Table.*|.*Queue|Stack|.*Barrier|.*Accumulator"
    r"|(Temporary)?Variable)(V\d)?"
)
# Operations that need not wait for the initialisation.
_AT_ONCE = ("Placeholder", "VarHandleOp", "Const", "NoOp")


def graph_def(
    computation: tff.framework.CompiledComputation,
) -> tf.compat.v1.GraphDef:
    """A graph of it; every run starts afresh, whatever ran before.

    That is, variables and tables are initialised before anything else runs.
    """
    proto = computation.proto.tensorflow
    graph = tf.compat.v1.GraphDef()
    proto.graph_def.Unpack(graph)
    if proto.initialize_op:
        _initialize_first(graph, proto.initialize_op)
    return graph


def is_stateful(graph: tf.compat.v1.GraphDef) -> bool:
    """Whether threads need copies of their own."""
    return any(node.op in STATEFUL for node in all_nodes(graph))


def keeps(graph: tf.compat.v1.GraphDef) -> bool:
    """Whether even a second call in the same thread needs a new copy."""
    return any(_KEEPING.fullmatch(node.op) for node in all_nodes(graph))


def all_nodes(graph: tf.compat.v1.GraphDef) -> Iterator[Any]:
    """The nodes of the graph and of its functions."""
    functions = (function.node_def for function in graph.library.function)
    return itertools.chain(graph.node, *functions)


def bindings(binding: Any) -> Iterator[Any]:
    """The bindings of the leaves, in order."""
    if binding.WhichOneof("binding") == "struct":
        for element in binding.struct.element:
            yield from bindings(element)
    elif binding.WhichOneof("binding") is not None:
        yield binding


def tensor_name(leaf: Any) -> str:
    """The tensor that a leaf's binding names; of a dataset, its variant."""
    if leaf.WhichOneof("binding") == "sequence":
        return leaf.sequence.variant_tensor_name
    return leaf.tensor.tensor_name


def leaf_types(kind: tff.Type) -> Iterator[tff.Type]:
    """The types of the leaves, in order."""
    if isinstance(kind, tff.StructType):
        for _, each in tff.structure.iter_elements(kind):
            yield from leaf_types(each)
    elif kind is not None:
        yield kind


def flatten(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples."""
    if isinstance(value, tuple):
        for element in value:
            yield from flatten(element)
    else:
        yield value


def pack(type_spec: tff.Type, leaves: Iterator[Any]) -> Any:
    """The inverse of `flatten`, for a value of `type_spec`."""
    if isinstance(type_spec, tff.StructType):
        elements = tff.structure.iter_elements(type_spec)
        return tuple(pack(each, leaves) for _, each in elements)
    return next(leaves)


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
