"""TFF's serialised TensorFlow computations, as graphs.

TFF ships a computation as a GraphDef with bindings that say which tensors are
its parameter and its result. Here such values are nested tuples of arrays, with
a dataset, or a list of its elements, where the type is a sequence.
"""

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

import tensorflow as tf
import tensorflow_federated as tff

MAPPED = "ImmutableConst"  # The operation whose memory is a file.
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


class Computation:
    """A TFF computation of TensorFlow, read from its serialised form.

    Attributes:
      graph: Its GraphDef; every run of it starts afresh, whatever ran before:
        variables and tables are initialised before anything else runs.
      signature: The computation's type.
      parameters: The bindings of the parameter's leaves.
      results: The bindings of the result's leaves.
    """

    def __init__(
        self,
        computation: tff.framework.CompiledComputation,
        files: Optional[Mapping[str, str]] = None,
    ):
        """Reads a compiled computation.

        Args:
          computation: The computation.
          files: Path of a file that its graph maps into memory -> the path to
            map instead.
        """
        proto = computation.proto.tensorflow
        self.graph = tf.compat.v1.GraphDef()
        proto.graph_def.Unpack(self.graph)
        _map_other_files(self.graph, files or {})
        if proto.initialize_op:
            _initialize_first(self.graph, proto.initialize_op)
        self.signature = computation.type_signature
        self.parameters = list(_bindings(proto.parameter))
        self.results = list(_bindings(proto.result))


class Copies:
    """Runnable copies of a graph, as few as keep its calls apart.

    A graph that keeps something from call to call is copied for every call, one
    with variables for every thread; all others need one copy.
    """

    def __init__(self, graph: tf.compat.v1.GraphDef, make: Callable[[], Any]):
        """Makes no copy yet.

        Args:
          graph: The graph, read for what it holds.
          make: Makes a copy that can be run.
        """
        operations = {node.op for node in all_nodes(graph)}
        self._one_a_call = any(map(_KEEPING.fullmatch, operations))
        self._one_a_thread = not operations.isdisjoint(STATEFUL)
        self._make = make
        self._in_thread = threading.local()
        self._lock = threading.Lock()
        self._shared: Any = None

    def get(self) -> Any:
        """Returns a copy for one call by this thread."""
        if self._one_a_call:
            return self._make()
        if self._one_a_thread:
            if not hasattr(self._in_thread, "copy"):
                self._in_thread.copy = self._make()
            return self._in_thread.copy
        with self._lock:
            if self._shared is None:
                self._shared = self._make()
        return self._shared


def all_nodes(graph: tf.compat.v1.GraphDef) -> Iterator[Any]:
    """Yields the nodes of a graph and of its functions."""
    functions = (function.node_def for function in graph.library.function)
    return itertools.chain(graph.node, *functions)


def _bindings(binding: Any) -> Iterator[Any]:
    """Yields the bindings of the leaves, in order."""
    if binding.WhichOneof("binding") == "struct":
        for element in binding.struct.element:
            yield from _bindings(element)
    elif binding.WhichOneof("binding") is not None:
        yield binding


def tensor_name(leaf: Any) -> str:
    """Returns the name of a leaf's tensor; for a dataset, of its variant.

    Args:
      leaf: A binding of `Computation.parameters` or `.results`.
    """
    if leaf.WhichOneof("binding") == "sequence":
        return leaf.sequence.variant_tensor_name
    return leaf.tensor.tensor_name


def leaf_types(kind: tff.Type) -> Iterator[tff.Type]:
    """Yields the types of the leaves of a type, in order."""
    if isinstance(kind, tff.StructType):
        for _, each in tff.structure.iter_elements(kind):
            yield from leaf_types(each)
    elif kind is not None:
        yield kind


def flatten(value: Any) -> list[Any]:
    """Returns the leaves of nested tuples.

    Example:
      >>> flatten((1, (2, (3,))))
      [1, 2, 3]
    """
    if not isinstance(value, tuple):
        return [value]
    # A list, for a generator in a generator would cost more than small sums.
    leaves = []
    for element in value:
        if isinstance(element, tuple):
            leaves += flatten(element)
        else:
            leaves.append(element)
    return leaves


def pack(type_spec: tff.Type, leaves: Iterator[Any]) -> Any:
    """Undoes `flatten`.

    Args:
      type_spec: The type of the value.
      leaves: Its leaves, in order.

    Returns:
      The value as nested tuples.
    """
    if isinstance(type_spec, tff.StructType):
        elements = tff.structure.iter_elements(type_spec)
        return tuple(pack(each, leaves) for _, each in elements)
    return next(leaves)


def _map_other_files(
    graph: tf.compat.v1.GraphDef, files: Mapping[str, str]
) -> None:
    """Makes a graph map other files into memory."""
    for node in all_nodes(graph) if files else ():
        if node.op == MAPPED:
            path = node.attr["memory_region_name"].s.decode()
            node.attr["memory_region_name"].s = files.get(path, path).encode()


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
