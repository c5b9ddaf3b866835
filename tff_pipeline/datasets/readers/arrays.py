"""A user's own arrays in an NPZ file; nothing in it is ever unpickled."""

import dataclasses
import os
import zipfile
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.readers import npz_file

Array = npt.NDArray[Any]

_ARRAYS = ("x", "y", "client_id", "is_test")


@dataclasses.dataclass(frozen=True)
class Arrays:
    """Examples as a user has them.

    Attributes:
      x: uint8, int32 or float32 of shape [n, ...]; NaN is a missing number.
      y: Numbers or text of shape [n, ...].
      owners: str of shape [n], whose each example is, where known.
      is_test: bool of shape [n], what is held out, where the file says it.
    """

    x: Array
    y: Array
    owners: Optional[Array]
    is_test: Optional[Array]


def load(path: str) -> Arrays:
    """Reads the arrays `x` and `y`, and `client_id` and `is_test` if there.

    Args:
      path: An NPZ file, or a folder with one in it. `client_id` holds text or
        whole numbers, `is_test` booleans or 0 and 1.

    Raises:
      DataError: If the file is missing, damaged, lacks x or y, or an array
        holds objects or does not go with the others.
    """
    path = _find(path)
    found, present = npz_file.read(path, _ARRAYS)
    for name in ("x", "y"):
        if name not in found:
            raise errors.DataError(
                f"{path} has no array {name}; it has: {', '.join(present)}."
            )
    for name, array in found.items():
        if array.ndim == 0 or len(array) != len(found["x"]):
            raise errors.DataError(
                f"{path} has {name} of shape {array.shape} beside x of shape "
                f"{found['x'].shape}; all have one entry an example."
            )
        if not array.size:
            raise errors.DataError(
                f"{path} has {name} of shape {array.shape}, which holds "
                "nothing; give at least one example, and at least one value "
                "in each."
            )
    x = as_input(found["x"], f"{path}: x")
    owners, is_test = found.get("client_id"), found.get("is_test")
    return Arrays(
        x,
        found["y"],
        None if owners is None else _names(owners, path),
        None if is_test is None else _flags(is_test, path),
    )


def _find(path: str) -> str:
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".npz"))
        if len(names) != 1:
            raise errors.DataError(
                f"{path} holds {len(names)} files that end in .npz; name one "
                "with --data_dir."
            )
        path = os.path.join(path, names[0])
    if not os.path.exists(path):
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name an NPZ file."
        )
    if not zipfile.is_zipfile(path):
        raise errors.DataError(
            f"{path} is not an NPZ file, or only part of one; write it with "
            "numpy.savez_compressed."
        )
    return path


def as_input(x: Array, source: str) -> Array:
    """Numbers as a model takes them: uint8 and booleans, int32 or float32.

    Args:
      x: Of any shape.
      source: Where it is, in words.

    Raises:
      DataError: If it holds no numbers, infinite ones, or whole numbers beyond
        int32.
    """
    kind = x.dtype.kind
    if kind not in "buif":
        raise errors.DataError(f"{source} is of type {x.dtype}; save numbers.")
    if kind == "b" or x.dtype == np.uint8:
        return x.astype(np.uint8, copy=False)
    if kind in "ui":
        limits = np.iinfo(np.int32)
        if x.size and (x.min() < limits.min or x.max() > limits.max):
            raise errors.DataError(
                f"{source} holds whole numbers beyond int32; save them as "
                "floats."
            )
        return x.astype(np.int32, copy=False)
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    if np.isinf(x).any():
        place = np.unravel_index(np.argmax(np.isinf(x)), x.shape)
        raise errors.DataError(
            f"{source}[{', '.join(map(str, place))}] is infinite, or too "
            "large for float32; mend it, or make it NaN if it is missing."
        )
    return x


def _names(owners: Array, path: str) -> Array:
    if owners.ndim != 1 or owners.dtype.kind not in "USui":
        raise errors.DataError(
            f"{path} has client_id of type {owners.dtype} and shape "
            f"{owners.shape}; it holds one text or whole number an example."
        )
    if owners.dtype.kind == "S":
        return np.char.decode(owners, "utf-8", "replace")
    return owners.astype(str)


def _flags(is_test: Array, path: str) -> Array:
    if (
        is_test.ndim != 1
        or is_test.dtype.kind not in "buif"
        or not np.isin(is_test, (0, 1)).all()
    ):
        raise errors.DataError(
            f"{path} has is_test of type {is_test.dtype} and shape "
            f"{is_test.shape}; it holds True or False for each example."
        )
    if is_test.all() or not is_test.any():
        raise errors.DataError(
            f"{path} has is_test {bool(is_test[0])} for every example; some "
            "are to train on and some to test on."
        )
    return is_test.astype(bool)
