"""TFF's values as nested tuples of arrays, datasets and dataflow nodes."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.runtime import elements
from tff_pipeline.runtime.dataflow import OnClients, OnServer


class Reference:
    """Stands for the data of a client, which are read where it is computed."""


class ClientInput(OnClients):
    """A caller's list with a value a client.

    Attributes:
      values: The list, in the clients' order.
    """

    def __init__(self, values: list[Any]):
        """Lays out `values`, in the clients' order."""
        super().__init__(values.__getitem__, indexed=True)
        self.values = values

    def release(self) -> None:
        """Lets go of the values."""
        super().release()
        self.values = []


class EverywhereInput(OnClients):
    """A caller's value that all clients have.

    Attributes:
      everywhere: The value.
    """

    def __init__(self, value: Any):
        """Lays out `value`."""
        super().__init__(lambda: self.everywhere)
        self.everywhere = value

    def release(self) -> None:
        """Lets go of the value."""
        super().release()
        self.everywhere = None


def ingest(value: Any, type_spec: tff.Type) -> Any:
    """Reads a caller's value as nested tuples of leaves, or of nodes.

    Args:
      value: Anything that TFF takes for the type: arrays, tensors, datasets,
        dictionaries, tuples; lists with a value a client. A sequence may be a
        `Reference`.
      type_spec: The type.

    Raises:
      TypeError: If an array has another shape than the type.
    """
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.placement is tff.SERVER:
            local = ingest(value, type_spec.member)
            return OnServer(lambda: local)
        if type_spec.all_equal:
            return EverywhereInput(ingest(value, type_spec.member))
        return ClientInput([ingest(each, type_spec.member) for each in value])
    if isinstance(type_spec, tff.StructType):
        types = tff.structure.iter_elements(type_spec)
        parts = elements.parts(value, type_spec)
        return tuple(ingest(v, t) for v, (_, t) in zip(parts, types))
    if isinstance(type_spec, tff.SequenceType):
        whole = isinstance(value, (tf.data.Dataset, Reference))
        return value if whole else list(value)
    if isinstance(type_spec, tff.TensorType):
        return elements.array(value, type_spec)
    return value


def emit(value: Any, type_spec: tff.Type) -> Any:
    """Undoes `ingest`, with TFF's structures for tuples.

    Args:
      value: Nested tuples of leaves, or of nodes that have been computed.
      type_spec: The type.

    Returns:
      A value for a caller; its arrays are read-only.
    """
    if isinstance(type_spec, tff.FederatedType):
        if type_spec.placement is tff.SERVER:
            return emit(value.value(), type_spec.member)
        if type_spec.all_equal:
            return emit(value.on_client(0, {}), type_spec.member)
        return [emit(each, type_spec.member) for each in value.kept]
    if isinstance(type_spec, tff.StructType):
        types = tff.structure.iter_elements(type_spec)
        return tff.structure.Struct(
            (name, emit(each, t)) for each, (name, t) in zip(value, types)
        )
    if isinstance(type_spec, tff.TensorType):
        # [()]: a scalar comes out as one, as it does from TFF's worker.
        result = np.asarray(value)[()]
        if isinstance(result, np.ndarray):
            # It may be a constant of a graph, or the caller's own state; a
            # view, for the caller's own array stays as it is.
            result = result.view()
            result.flags.writeable = False
        return result
    return value


def cardinality(argument: Any) -> int:
    """Returns the number of clients of an ingested argument; 0 without any.

    Raises:
      ValueError: If its parts are of different numbers of clients.
    """
    sizes = {
        len(node.values)
        for node in nodes(argument)
        if isinstance(node, ClientInput)
    }
    if len(sizes) > 1:
        raise ValueError(
            f"The arguments are of {sorted(sizes)} clients; all must be of as "
            "many."
        )
    return sizes.pop() if sizes else 0


def nodes(value: Any) -> Iterator[Any]:
    """Yields the nodes in nested tuples, in order."""
    if isinstance(value, tuple):
        for element in value:
            yield from nodes(element)
    elif isinstance(value, (OnServer, OnClients)):
        yield value


def refill(template: Any, values: Iterator[Any]) -> Any:
    """Replaces the leaves of nested tuples, in order.

    Args:
      template: Nested tuples.
      values: A value for each leaf.

    Example:
      >>> refill((0, (0, 0)), iter("abc"))
      ('a', ('b', 'c'))
    """
    if isinstance(template, tuple):
        return tuple(refill(element, values) for element in template)
    return next(values)


def zip_leaves(function: Callable[..., Any], *values: Any) -> Any:
    """Applies `function` to the leaves of nested tuples, place by place.

    Args:
      function: Takes one leaf of each of `values`.
      values: Nested tuples, all nested alike.

    Example:
      >>> zip_leaves(max, (1, (5, 2)), (3, (4, 6)))
      (3, (5, 6))
    """
    if isinstance(values[0], tuple):
        return tuple(zip_leaves(function, *each) for each in zip(*values))
    return function(*values)


def zeros(type_spec: tff.Type, fill: float = 0) -> Any:
    """Makes zeros of a type, as nested tuples of arrays.

    Args:
      type_spec: A structure of tensors; an unknown size counts as 0.
      fill: The number in arrays of floats.
    """
    if isinstance(type_spec, tff.StructType):
        parts = tff.structure.iter_elements(type_spec)
        return tuple(zeros(each, fill) for _, each in parts)
    shape = [size or 0 for size in type_spec.shape or ()]
    if not np.issubdtype(type_spec.dtype, np.floating):
        fill = 0
    return np.full(shape, fill, type_spec.dtype)


def extremes(type_spec: tff.Type, lowest: bool) -> Any:
    """Makes arrays of the lowest or highest finite numbers of a type.

    Args:
      type_spec: A structure of tensors.
      lowest: Whether the lowest numbers are asked for, not the highest.
    """
    if isinstance(type_spec, tff.StructType):
        parts = tff.structure.iter_elements(type_spec)
        return tuple(extremes(each, lowest) for _, each in parts)
    dtype = np.dtype(type_spec.dtype)
    kind = np.finfo if np.issubdtype(dtype, np.floating) else np.iinfo
    extreme = kind(dtype).min if lowest else kind(dtype).max
    return np.full(type_spec.shape or (), extreme, dtype)
