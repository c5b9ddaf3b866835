"""An execution context that runs TFF's computations inside this process.

TFF as shipped sends every value over gRPC to a worker process, CPU only. This
context interprets the same compiled computation here: its TensorFlow parts
become concrete functions, clients run on threads, values stay where they are.
It takes any `LearningProcess`, of this package or not.
"""

import concurrent.futures
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import reductions
from tff_pipeline.runtime.dataflow import OnClients, OnServer, Reduced, run
from tff_pipeline.runtime.graph_function import GraphFunction

# How far threads may run ahead of the fold, in clients a thread.
_AHEAD = 2


class InProcessContext(tff.framework.SyncContext):
    """Runs TFF computations here; a context manager that installs itself."""

    def __init__(self, client_threads: Optional[int] = None):
        """Makes the context.

        Args:
          client_threads: How many clients run at once; by default as many as
            there are processors. Results have the same bits for any number.
        """
        self._threads = client_threads or os.cpu_count() or 1
        self._pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        # Compiled once a computation, which is kept so that its id stays its.
        self._compiled: dict[int, tuple[Any, _Interpreter]] = {}

    def __enter__(self) -> "InProcessContext":
        self._installed = tff.framework.get_context_stack().install(self)
        self._installed.__enter__()
        return self

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._installed.__exit__(exc_type, exc, traceback)
        self._pool.shutdown()

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Runs `comp`; what `comp(arg)` calls.

        Raises:
          NotImplementedError: If it needs an intrinsic that is not known here;
            it is named.
        """
        if id(comp) not in self._compiled:
            # Not `transform_to_native_form`, which would also keep TensorFlow
            # from optimising what it runs.
            block = tff.framework.to_call_dominant(comp.to_building_block())
            self._compiled[id(comp)] = (comp, _Interpreter(block))
        interpreter = self._compiled[id(comp)][1]
        signature = comp.type_signature
        argument, num_clients = None, 0
        if signature.parameter is not None:
            argument = _ingest(arg, signature.parameter)
            num_clients = _cardinality(argument)
        result = interpreter.lay_out(argument, num_clients)
        nodes = list(_nodes(result))
        run(nodes, num_clients, self._pool, _AHEAD * self._threads)
        value = _emit(result, signature.result)
        return tff.types.type_to_py_container(value, signature.result)


class _ClientInput(OnClients):
    """A list with a value a client."""

    def __init__(self, values: list[Any]):
        super().__init__(values.__getitem__, indexed=True)
        self.values = values


class _Interpreter:
    """Lays out the calls of one compiled computation as a dataflow."""

    def __init__(self, block: tff.framework.ComputationBuildingBlock):
        self._block = block
        self._functions: dict[int, GraphFunction] = {}

    def lay_out(self, argument: Any, num_clients: int) -> Any:
        """The result of the computation as nested tuples of nodes."""
        self._num_clients = num_clients
        result = self._evaluate(self._block, {})
        return result(argument) if callable(result) else result

    def _evaluate(self, block: Any, names: Mapping[str, Any]) -> Any:
        if isinstance(block, tff.framework.Reference):
            return names[block.name]
        if isinstance(block, tff.framework.Selection):
            return self._evaluate(block.source, names)[block.as_index()]
        if isinstance(block, tff.framework.Struct):
            elements = tff.structure.iter_elements(block)
            return tuple(self._evaluate(value, names) for _, value in elements)
        if isinstance(block, tff.framework.Block):
            names = dict(names)
            for name, value in block.locals:
                names[name] = self._evaluate(value, names)
            return self._evaluate(block.result, names)
        if isinstance(block, tff.framework.Lambda):
            return lambda argument: self._evaluate(
                block.result, {**names, block.parameter_name: argument}
            )
        if isinstance(block, tff.framework.Call):
            function = self._evaluate(block.function, names)
            if block.argument is None:
                return function(None)
            return function(self._evaluate(block.argument, names))
        if isinstance(block, tff.framework.CompiledComputation):
            if id(block) not in self._functions:
                self._functions[id(block)] = GraphFunction(block)
            return self._functions[id(block)]
        if isinstance(block, tff.framework.Literal):
            return np.asarray(block.value, block.type_signature.dtype)
        if isinstance(block, tff.framework.Intrinsic):
            return self._intrinsic(block)
        raise NotImplementedError(
            f"The in-process runtime does not know {type(block).__name__}; "
            "use --runtime=local."
        )

    def _intrinsic(self, block: tff.framework.Intrinsic) -> Any:
        method = getattr(self, f"_{block.uri}", None)
        if method is None:
            raise NotImplementedError(
                f"The in-process runtime does not know the intrinsic "
                f"{block.uri}; use --runtime=local."
            )
        if block.uri == "generic_zero":
            return _zeros(block.type_signature)
        return lambda argument: method(argument, block.type_signature)

    # Every intrinsic of TFF 0.87 that its learning processes and aggregators
    # are compiled to: (argument, type signature) -> node.

    def _federated_map(self, argument: Any, _: Any) -> Any:
        function, value = argument
        if isinstance(value, OnServer):
            return OnServer(function, value)
        return OnClients(function, [value])

    _federated_map_all_equal = _federated_map
    _federated_apply = _federated_map

    def _federated_broadcast(self, argument: OnServer, _: Any) -> Any:
        # Tensors once, and not once a client.
        return OnClients(lambda v: v, server=[OnServer(_to_tensors, argument)])

    def _federated_value_at_clients(self, argument: Any, _: Any) -> Any:
        return OnClients(lambda: argument)

    def _federated_value_at_server(self, argument: Any, _: Any) -> Any:
        return OnServer(lambda: argument)

    def _federated_eval_at_clients(self, argument: Any, _: Any) -> Any:
        # Indexed: a client's random draw is its own.
        return OnClients(lambda _: argument(None), indexed=True)

    def _federated_eval_at_server(self, argument: Any, _: Any) -> Any:
        return OnServer(lambda: argument(None))

    def _federated_zip_at_clients(self, argument: Any, _: Any) -> Any:
        leaves = list(_nodes(argument))
        return OnClients(lambda *v: _refill(argument, iter(v)), leaves)

    def _federated_zip_at_server(self, argument: Any, _: Any) -> Any:
        leaves = list(_nodes(argument))
        return OnServer(lambda *v: _refill(argument, iter(v)), *leaves)

    def _federated_select(self, argument: Any, signature: Any) -> Any:
        keys, _, value, function = argument
        element = signature.result.member.element

        def select(keys: Any, value: Any) -> tf.data.Dataset:
            chosen = [function((value, key)) for key in np.asarray(keys)]
            return _dataset([_emit(each, element) for each in chosen], element)

        return OnClients(select, [keys], [OnServer(_to_tensors, value)])

    _federated_secure_select = _federated_select

    def _federated_sum(self, argument: OnClients, signature: Any) -> Any:
        empty = _zeros(signature.result.member)
        return Reduced(lambda: reductions.Elementwise(np.add, empty), argument)

    def _federated_secure_sum(self, argument: Any, signature: Any) -> Any:
        # Secrecy needs a protocol between machines; here it is a plain sum.
        return self._federated_sum(argument[0], signature)

    _federated_secure_sum_bitwidth = _federated_secure_sum

    def _federated_min(self, argument: OnClients, signature: Any) -> Any:
        empty = _extremes(signature.result.member, lowest=False)
        return Reduced(
            lambda: reductions.Elementwise(np.minimum, empty), argument
        )

    def _federated_max(self, argument: OnClients, signature: Any) -> Any:
        empty = _extremes(signature.result.member, lowest=True)
        return Reduced(
            lambda: reductions.Elementwise(np.maximum, empty), argument
        )

    def _federated_mean(self, argument: OnClients, signature: Any) -> Any:
        empty = _zeros(signature.result.member, fill=np.nan)
        return Reduced(lambda: reductions.Mean(empty), argument)

    def _federated_weighted_mean(self, argument: Any, signature: Any) -> Any:
        empty = _zeros(signature.result.member, fill=np.nan)
        pair = OnClients(lambda value, weight: (value, weight), argument)
        return Reduced(lambda: reductions.WeightedMean(empty), pair)

    def _federated_aggregate(self, argument: Any, _: Any) -> Any:
        value, zero, accumulate, _merge, report = argument
        return Reduced(
            lambda: reductions.Aggregate(zero, accumulate, report), value
        )

    def _generic_zero(self) -> None:
        """A value and not a function; see `_intrinsic`."""

    def _generic_plus(self, argument: Any, _: Any) -> Any:
        return _zip_leaves(np.add, *argument)

    def _generic_multiply(self, argument: Any, _: Any) -> Any:
        return _zip_leaves(np.multiply, *argument)

    def _generic_divide(self, argument: Any, _: Any) -> Any:
        return _zip_leaves(np.divide, *argument)


def _ingest(value: Any, type_spec: tff.Type) -> Any:
    """A caller's value as nested tuples of leaves, or of nodes."""
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.placement is tff.SERVER:
            local = _ingest(value, type_spec.member)
            return OnServer(lambda: local)
        if type_spec.all_equal:
            local = _ingest(value, type_spec.member)
            return OnClients(lambda: local)
        return _ClientInput([_ingest(each, type_spec.member) for each in value])
    if isinstance(type_spec, tff.StructType):
        types = list(tff.structure.iter_elements(type_spec))
        if isinstance(value, tff.structure.Struct):
            values = [each for _, each in tff.structure.iter_elements(value)]
        elif isinstance(value, Mapping):
            values = [value[name] for name, _ in types]
        elif isinstance(value, (list, tuple)):
            values = list(value)
        else:
            values = [getattr(value, name) for name, _ in types]
        return tuple(_ingest(v, t) for v, (_, t) in zip(values, types))
    if isinstance(type_spec, tff.SequenceType):
        if isinstance(value, tf.data.Dataset):
            return value
        return _dataset(list(value), type_spec.element)
    if isinstance(type_spec, tff.TensorType) and not tf.is_tensor(value):
        return np.asarray(value, type_spec.dtype)
    return value


def _emit(value: Any, type_spec: tff.Type) -> Any:
    """The inverse of `_ingest`, with TFF's structures for tuples."""
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.placement is tff.SERVER:
            return _emit(value.value(), type_spec.member)
        if type_spec.all_equal:
            return _emit(value.of(0, {}), type_spec.member)
        return [_emit(each, type_spec.member) for each in value.kept]
    if isinstance(type_spec, tff.StructType):
        types = tff.structure.iter_elements(type_spec)
        return tff.structure.Struct(
            (name, _emit(each, t)) for each, (name, t) in zip(value, types)
        )
    if isinstance(type_spec, tff.TensorType):
        # [()]: a scalar comes out as one, as it does from TFF's worker.
        return np.asarray(value)[()]
    return value


def _dataset(elements: list[Any], element_type: tff.Type) -> tf.data.Dataset:
    """A dataset of a few `elements`, such as a caller gives in a list."""
    specs = tff.types.type_to_tf_tensor_specs(element_type)
    dataset: Any = None
    for element in elements:
        python = tff.types.type_to_py_container(element, element_type)
        one = tf.data.Dataset.from_tensors(
            tf.nest.map_structure(
                lambda spec, v: tf.convert_to_tensor(v, spec.dtype),
                specs,
                python,
            )
        )
        dataset = one if dataset is None else dataset.concatenate(one)
    if dataset is None:
        empty = tf.nest.map_structure(
            lambda spec: tf.zeros(
                [0, *(d or 0 for d in spec.shape)], spec.dtype
            ),
            specs,
        )
        dataset = tf.data.Dataset.from_tensor_slices(empty)
    return dataset


def _cardinality(argument: Any) -> int:
    sizes = {
        len(node.values)
        for node in _nodes(argument)
        if isinstance(node, _ClientInput)
    }
    if len(sizes) > 1:
        raise ValueError(
            f"The arguments are of {sorted(sizes)} clients; all must be of as "
            "many."
        )
    return sizes.pop() if sizes else 0


def _nodes(value: Any) -> Any:
    """The nodes in nested tuples, in order."""
    if isinstance(value, tuple):
        for element in value:
            yield from _nodes(element)
    elif isinstance(value, (OnServer, OnClients)):
        yield value


def _refill(template: Any, values: Any) -> Any:
    """`template` with its nodes replaced by their `values`, in order."""
    if isinstance(template, tuple):
        return tuple(_refill(element, values) for element in template)
    return next(values)


def _zip_leaves(function: Callable[..., Any], *values: Any) -> Any:
    if isinstance(values[0], tuple):
        return tuple(_zip_leaves(function, *each) for each in zip(*values))
    return function(*values)


def _to_tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_to_tensors(element) for element in value)
    if isinstance(value, tf.data.Dataset):
        return value
    return tf.convert_to_tensor(value)


def _zeros(type_spec: tff.Type, fill: float = 0) -> Any:
    if isinstance(type_spec, tff.StructType):
        elements = tff.structure.iter_elements(type_spec)
        return tuple(_zeros(each, fill) for _, each in elements)
    shape = [size or 0 for size in type_spec.shape or ()]
    if not np.issubdtype(type_spec.dtype, np.floating):
        fill = 0
    return np.full(shape, fill, type_spec.dtype)


def _extremes(type_spec: tff.Type, lowest: bool) -> Any:
    if isinstance(type_spec, tff.StructType):
        elements = tff.structure.iter_elements(type_spec)
        return tuple(_extremes(each, lowest) for _, each in elements)
    dtype = np.dtype(type_spec.dtype)
    kind = np.finfo if np.issubdtype(dtype, np.floating) else np.iinfo
    extreme = kind(dtype).min if lowest else kind(dtype).max
    return np.full(type_spec.shape or (), extreme, dtype)
