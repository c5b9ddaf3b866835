"""Callers' values as arrays of a TFF type, in the order that graphs have.

`tf.data` and `tf.nest` take the parts of a dictionary in the order of their
sorted names, TFF takes them in the order of the type.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff


def array(value: Any, kind: tff.TensorType) -> npt.NDArray[Any]:
    """Makes an array of the type's dtype and the machine's byte order.

    Args:
      value: What NumPy takes for an array.
      kind: The type.

    Raises:
      TypeError: If the shape is not one of the type's.
    """
    # NumPy's own strings would take off trailing zeros and refuse bytes.
    dtype = object if kind.dtype == np.str_ else kind.dtype
    result = np.asarray(value, dtype)
    if not _has_shape(result, kind.shape):
        raise TypeError(
            f"A value of shape {list(result.shape)} was given where {kind} is "
            "expected."
        )
    return result


def _has_shape(value: npt.NDArray[Any], shape: Any) -> bool:
    """Returns whether an array has a shape, as `tf.TensorShape` would say it.

    That takes ten times as long, for every array of every client.
    """
    return shape is None or (
        len(shape) == value.ndim
        and all(
            size is None or size == of_value
            for size, of_value in zip(shape, value.shape)
        )
    )


def parts(value: Any, kind: tff.StructType) -> list[Any]:
    """Returns the parts of a structure, in the order of its type.

    Args:
      value: A TFF structure, list, tuple, mapping or object with attributes.
      kind: The type.
    """
    if isinstance(value, tff.structure.Struct):
        return [each for _, each in tff.structure.iter_elements(value)]
    if isinstance(value, (list, tuple)):
        return list(value)
    names = [name for name, _ in tff.structure.iter_elements(kind)]
    if isinstance(value, Mapping):
        return [value[name] for name in names]
    return [getattr(value, name) for name in names]


def element(value: Any, kind: tff.Type) -> Any:
    """Makes an element of a dataset: arrays, in structures `tf.data` knows.

    Args:
      value: The element, in any structure that `parts` takes.
      kind: The element's type.

    Raises:
      TypeError: If an array has another shape than the type.
    """
    if not isinstance(kind, tff.StructType):
        return array(value, kind)
    names_and_kinds = list(tff.structure.iter_elements(kind))
    values = [
        element(each, each_kind)
        for each, (_, each_kind) in zip(parts(value, kind), names_and_kinds)
    ]
    if hasattr(value, "_fields"):  # A named tuple, whose order tf.data keeps.
        return type(value)(*values)
    return _structure([name for name, _ in names_and_kinds], values)


def specs(kind: tff.Type) -> Any:
    """Returns the structure of `tf.TensorSpec` of elements of a type."""
    if not isinstance(kind, tff.StructType):
        return tf.TensorSpec(kind.shape, kind.dtype)
    names_and_kinds = list(tff.structure.iter_elements(kind))
    return _structure(
        [name for name, _ in names_and_kinds],
        [specs(each) for _, each in names_and_kinds],
    )


def dataset(values: list[Any], kind: tff.Type) -> tf.data.Dataset:
    """Makes a dataset of a few elements, such as a caller gives in a list.

    Args:
      values: The elements, each in any structure that `parts` takes.
      kind: The type of one element.
    """
    whole: Any = None
    for value in values:
        one = tf.data.Dataset.from_tensors(element(value, kind))
        whole = one if whole is None else whole.concatenate(one)
    if whole is None:
        empty = tf.nest.map_structure(
            lambda spec: tf.zeros(
                [0, *(size or 0 for size in spec.shape)], spec.dtype
            ),
            specs(kind),
        )
        whole = tf.data.Dataset.from_tensor_slices(empty)
    return whole


def _structure(names: list[Any], values: list[Any]) -> Any:
    if names and all(names):
        return collections.OrderedDict(zip(names, values))
    return tuple(values)
