"""Reads the types and shapes of features in an SQLite file of clients."""

import json
import math
import sqlite3
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline import errors

# A feature's (type, shape of one example).
Spec = tuple[np.dtype[Any], list[int]]
# The types that `sqlite_writer` writes.
_DTYPES = ("uint8", "int32", "float32")


def read(
    path: str, connection: sqlite3.Connection, has_table: bool
) -> dict[str, Spec]:
    """Reads the types and shapes of x and y.

    Args:
      path: The file, for errors.
      connection: A connection to the file.
      has_table: Whether the file has a table `features`; otherwise the first
        example tells.

    Returns:
      "x" and "y" -> (type, shape).

    Raises:
      DataError: If the file does not tell them, or a shape has no elements.
    """
    specs = (_stated if has_table else _inferred)(path, connection)
    for name, (_, shape) in specs.items():
        if not math.prod(shape):
            raise errors.DataError(
                f"{path} has {name} of shape {shape}, which holds nothing; "
                "write it again."
            )
    return specs


def _stated(path: str, connection: sqlite3.Connection) -> dict[str, Spec]:
    """Reads the table `features`."""
    specs = {}
    for name, dtype, text in connection.execute(
        "SELECT name, dtype, shape FROM features"
    ):
        try:
            shape = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            shape = None
        if (
            dtype not in _DTYPES
            or not isinstance(shape, list)
            or not all(type(size) is int and size >= 0 for size in shape)
        ):
            raise errors.DataError(
                f"{path} has the type {dtype!r} and the shape "
                f"{text!r} of {name!r} in its table features; types are "
                f"{', '.join(_DTYPES)}, shapes such as [28, 28]: write it "
                "again."
            )
        specs[name] = (np.dtype(dtype), shape)
    if not {"x", "y"} <= set(specs):
        raise errors.DataError(
            f"{path} has a table features without x or y; it has: "
            f"{', '.join(map(str, specs)) or 'nothing'}."
        )
    return {name: specs[name] for name in ("x", "y")}


def _inferred(path: str, connection: sqlite3.Connection) -> dict[str, Spec]:
    """Reads the first example."""
    first = connection.execute(
        "SELECT serialized_example_proto FROM examples LIMIT 1"
    ).fetchone()
    if first is None:
        raise errors.DataError(f"{path} has no examples.")
    try:
        features = tf.train.Example.FromString(first[0]).features.feature
    except Exception:  # Protocol buffers have errors in several modules.
        raise errors.DataError(
            f"{path} has examples that are no tf.train.Example."
        ) from None
    specs = {}
    for name in ("x", "y"):
        kind = features[name].WhichOneof("kind") if name in features else ""
        if kind not in ("int64_list", "float_list"):
            raise errors.DataError(
                f"{path} has examples without numbers in the feature "
                f"{name}; they have: {', '.join(sorted(features))}."
            )
        count = len(getattr(features[name], kind).value)
        dtype = np.int32 if kind == "int64_list" else np.float32
        shape = [] if name == "y" and count == 1 else [count]
        specs[name] = (np.dtype(dtype), shape)
    return specs
