"""A TFF computation on arrays, as a callable of a TensorFlow session.

A session runs what it is given in the caller's thread, one operation after the
other. A `tf.function` would pass each through a queue to a pool of threads,
which costs more than a small one takes. Operations are not taken apart over the
cores either: clients run side by side, one on each core. So results do not
depend on how many cores the machine has.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import compat, elements, graphs

# Lets sessions have threads of their own, and not those that TensorFlow first
# made for the whole process; read when it makes them.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")

Array = npt.NDArray[Any]

_LOOPS = ("While", "StatelessWhile")
# The fewest operations of a loop's body that make it large: more than in steps
# of recurrent networks.
_LARGE = 300
_SINGLE_ELEMENT = "DatasetToSingleElement"


class SessionFunction:
    """A function of nested tuples of arrays, and to such.

    A parameter that is a sequence comes as a dataset or list of one element.
    The function can be called by several threads at once.
    """

    def __init__(self, computation: graphs.Computation):
        """Takes a computation for which `takes` is true."""
        self._graph = computation.graph
        self._signature = computation.signature
        self._types = list(graphs.leaf_types(self._signature.parameter))
        self._inputs: list[list[str]] = [
            _inputs(self._graph, leaf) or [] for leaf in computation.parameters
        ]
        self._outputs = [
            graphs.tensor_name(leaf) for leaf in computation.results
        ]
        self._copies = graphs.Copies(self._graph, self._open)
        self._importing = threading.Lock()
        self._imported: Any = None

    @staticmethod
    def takes(computation: graphs.Computation) -> bool:
        """Returns whether all datasets are parameters of one element."""
        return all(
            leaf.WhichOneof("binding") == "tensor"
            for leaf in computation.results
        ) and all(
            _inputs(computation.graph, leaf) is not None
            for leaf in computation.parameters
        )

    def __call__(self, argument: Any = None) -> Any:
        """Runs the computation on nested tuples of the parameter's leaves.

        Raises:
          ValueError: If a dataset has not exactly one element.
        """
        leaves = graphs.flatten(argument) if self._inputs else ()
        feeds: list[Any] = []
        for value, kind in zip(leaves, self._types):
            if isinstance(kind, tff.SequenceType):
                feeds += _only_element(value, kind.element)
            else:
                feeds.append(value)
        results = self._copies.get()(*feeds)
        return graphs.pack(self._signature.result, map(_as_array, results))

    def _open(self) -> Callable[..., Sequence[Array]]:
        """Makes a callable with a session, and so variables, of its own."""
        with self._importing:
            if self._imported is None:
                self._imported = self._import()
        graph, feeds, fetches, forget = self._imported
        if not fetches:
            return lambda *_: []
        session = tf.compat.v1.Session(
            graph=graph,
            config=tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=1,
                allow_soft_placement=True,
                graph_options=_optimizing(self._graph),
            ),
        )
        return compat.inline_callable(session, feeds, fetches, [forget])

    def _import(
        self,
    ) -> tuple[tf.Graph, list[tf.Tensor], list[tf.Tensor], tf.Operation]:
        """Returns the graph, what to feed, to fetch, and what else to run."""
        with tf.Graph().as_default() as graph:
            feeds = {
                name: self._placeholder(name)
                for names in self._inputs
                for name in names
            }
            results = tf.graph_util.import_graph_def(
                self._graph,
                input_map=feeds,
                return_elements=self._outputs,
                name="",
            )
            # A session does not give back what it was fed.
            fetches = [tf.identity(result) for result in results]
            # Variables would hold a copy of the model between two calls.
            with tf.control_dependencies(fetches):
                forget = tf.group(
                    *(
                        tf.raw_ops.DestroyResourceOp(
                            resource=graph.get_tensor_by_name(f"{node.name}:0")
                        )
                        for node in self._graph.node
                        if node.op == "VarHandleOp"
                    )
                )
        return graph, list(feeds.values()), fetches, forget

    def _placeholder(self, name: str) -> tf.Tensor:
        """Makes what feeds the tensor `name` of the computation's graph."""
        node_name, _, output = name.partition(":")
        node = next(n for n in self._graph.node if n.name == node_name)
        if node.op == _SINGLE_ELEMENT:
            dtype = node.attr["output_types"].list.type[int(output)]
            shape = node.attr["output_shapes"].list.shape[int(output)]
        else:
            dtype, shape = node.attr["dtype"].type, node.attr["shape"].shape
        return tf.compat.v1.placeholder(dtype, tf.TensorShape(shape))


def _optimizing(graph: tf.compat.v1.GraphDef) -> Any:
    """Chooses how TensorFlow optimizes a graph before it runs it.

    It would inline loops as frames of one graph, which is faster for small
    steps. But of a large loop within a loop, such as one over a transformer's
    blocks within one over a client's steps, tensors of past steps then stay in
    memory (100 MB and more a step were seen), and inlining and what follows
    takes longer than the rest of a first round. How large loops are is a matter
    of the graph alone, so the bits of results do not depend on anything else.

    And it would compute what depends on constants alone as soon as it has the
    graph: weights that are mapped from files (`models.frozen`) too, of which
    it then keeps a copy.
    """
    options = tf.compat.v1.GraphOptions()
    if graphs.MAPPED in {
        node.op
        for nodes in (graph.node, *(f.node_def for f in graph.library.function))
        for node in nodes
    }:
        optimizing = options.optimizer_options
        optimizing.opt_level = optimizing.L0
    sizes = {
        function.signature.name: len(function.node_def)
        for function in graph.library.function
    }
    if any(
        node.op in _LOOPS and sizes[node.attr["body"].func.name] >= _LARGE
        for function in graph.library.function
        for node in function.node_def
    ):
        rewriting = options.rewrite_options
        rewriting.function_optimization = rewriting.OFF
    return options


def _inputs(graph: tf.compat.v1.GraphDef, leaf: Any) -> Optional[list[str]]:
    """Returns the names of the tensors that are fed for a parameter's leaf.

    For a dataset these are its one element's, or `None` if the graph does more
    with the dataset than to take that element.
    """
    name = graphs.tensor_name(leaf)
    if leaf.WhichOneof("binding") == "tensor":
        return [name]
    variant = name.partition(":")[0]
    takers = [
        node
        for node in graph.node
        if variant in [source.partition(":")[0] for source in node.input]
    ]
    if len(takers) != 1 or takers[0].op != _SINGLE_ELEMENT:
        return None
    count = len(takers[0].attr["output_types"].list.type)
    return [f"{takers[0].name}:{i}" for i in range(count)]


def _as_array(value: Any) -> Array:
    # A string comes as bytes, of which NumPy's own kind drops trailing zeros.
    return np.asarray(value, object) if isinstance(value, bytes) else value


def _only_element(value: Any, kind: tff.Type) -> list[Array]:
    """Returns the tensors of the one element of a list or dataset, in order."""
    if isinstance(value, tf.data.Dataset):
        value = [value.get_single_element()]
    if len(value) != 1:
        raise ValueError(
            f"A client has a list of {len(value)} elements; this process takes "
            "all of a client's data in one."
        )
    return tf.nest.flatten(elements.element(value[0], kind))
