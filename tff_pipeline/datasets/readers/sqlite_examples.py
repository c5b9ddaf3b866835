"""Parses examples of an SQLite file of clients, `tf.train.Example` each."""

import math
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers.sqlite_features import Spec

Array = npt.NDArray[Any]


def parse(
    rows: list[bytes], specs: Mapping[str, Spec], *, path: str, owner: str
) -> Examples:
    """Parses examples.

    Args:
      rows: A serialized `tf.train.Example` for each example.
      specs: "x" and "y" -> (dtype, shape of one example).
      path: The file that they come from, for errors.
      owner: Words for their client, for errors, such as "the client 'a'".

    Returns:
      The examples, in the order of the rows.

    Raises:
      DataError: If one is damaged, lacks a feature, or holds other numbers
        than `specs` tells.
    """
    needed = sum(math.prod(shape) for _, shape in specs.values())
    for row in rows:
        # A number takes at least a byte. TensorFlow would allocate first.
        if not isinstance(row, bytes) or len(row) < needed:
            raise errors.DataError(
                f"{path} has an example of {owner} "
                f"that does not hold {needed} numbers, which `features` or "
                "the first one promise; write it again."
            )
    features = {
        name: tf.io.FixedLenFeature(
            shape, tf.int64 if dtype.kind in "bui" else tf.float32
        )
        for name, (dtype, shape) in specs.items()
    }
    try:
        # Eagerly, whatever graph the caller builds.
        with tf.init_scope():
            parsed = tf.io.parse_example(rows, features)
    # The second comes from TensorFlow's message about a damaged name.
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise errors.DataError(
            f"{path} has examples of {owner} that "
            "are not like the first one or like what `features` says "
            f"({str(error).splitlines()[0]}); write it again."
        ) from None
    return Examples(
        *(_cast(parsed[name].numpy(), specs[name], name, path) for name in "xy")
    )


def _cast(values: Array, spec: Spec, name: str, path: str) -> Array:
    """Casts a feature's numbers to its dtype; raises unless it holds them."""
    cast = values.astype(spec[0], copy=False)
    if values.dtype.kind == "i" and (cast != values).any():
        raise errors.DataError(
            f"{path} has the number {values[cast != values][0]} in "
            f"{name}, beyond {cast.dtype}; save such numbers as floats."
        )
    return cast
