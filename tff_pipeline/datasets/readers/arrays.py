"""Reads a user's own arrays from an NPZ file, and never unpickles anything."""

import dataclasses
import os
import zipfile
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.readers import npz_file, other_kinds

Array = npt.NDArray[Any]

_ARRAYS = ("x", "y", "client_id", "is_test", "is_validation")


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A user's examples.

    Attributes:
      x: uint8, int32 or float32 of shape [n, ...]; NaN is a missing number.
      y: Numbers or text of shape [n, ...].
      owners: str of shape [n], the client of each example; `None` if the file
        does not name clients.
      is_test: bool of shape [n], true for test examples; `None` if the file
        does not say which these are.
      is_validation: bool of shape [n], true for examples to choose on, none of
        them a test example; `None` if the file does not name any.
    """

    x: Array
    y: Array
    owners: Optional[Array]
    is_test: Optional[Array]
    is_validation: Optional[Array] = None


def load(path: str) -> Arrays:
    """Reads the arrays `x` and `y`, and what there is of the others.

    Args:
      path: An NPZ file, or a folder that holds one. `client_id` has text or
        whole numbers, `is_test` and `is_validation` booleans or 0 and 1.

    Returns:
      The arrays, all of the same length.

    Raises:
      DataError: If the file is missing or damaged, lacks x or y, or has an
        array that holds objects or does not fit the others.
    """
    path = _find(path)
    arrays, present = npz_file.read(path, _ARRAYS)
    for name in ("x", "y"):
        if name not in arrays:
            raise errors.DataError(
                f"{path} has no array {name}; it has: {', '.join(present)}."
            )
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != len(arrays["x"]):
            raise errors.DataError(
                f"{path} has {name} of shape {array.shape} beside x of shape "
                f"{arrays['x'].shape}; every array needs one entry per "
                "example."
            )
        if not array.size:
            raise errors.DataError(
                f"{path} has {name} of shape {array.shape}, which holds "
                "nothing; give at least one example, and at least one value "
                "in each."
            )
    x = as_input(arrays["x"], f"{path}: x")
    owners = arrays.get("client_id")
    is_test, is_validation = (
        _flags(arrays[name], name, path) if name in arrays else None
        for name in ("is_test", "is_validation")
    )
    if is_validation is not None and (
        is_test is None or (is_test & is_validation).any()
    ):
        raise errors.DataError(
            f"{path} has is_validation, but no is_test or one that is True "
            "for the same examples; each is to train, to choose or to test on."
        )
    return Arrays(
        x,
        arrays["y"],
        None if owners is None else _names(owners, path),
        is_test,
        is_validation,
    )


def _find(path: str) -> str:
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".npz"))
        if len(names) != 1:
            advice = "name one with --data_dir"
            if not names:
                advice = other_kinds.advice(path, other_kinds.ARRAYS, advice)
            raise errors.DataError(
                f"{path} holds {len(names)} files that end in .npz; {advice}."
            )
        path = os.path.join(path, names[0])
    if not os.path.exists(path):
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name an NPZ file."
        )
    if not zipfile.is_zipfile(path):
        advice = other_kinds.advice(
            path, other_kinds.ARRAYS, "write it with numpy.savez_compressed"
        )
        raise errors.DataError(
            f"{path} is not an NPZ file, or only part of one; {advice}."
        )
    return path


def as_input(x: Array, source: str) -> Array:
    """Casts numbers to a type that models take.

    Example:
      >>> as_input(np.array([1.5, np.nan]), "data.npz: x").dtype
      dtype('float32')

    Args:
      x: Numbers or booleans of any shape.
      source: The place that they were read from, for errors.

    Returns:
      uint8 for booleans and uint8, int32 for other whole numbers, float32 for
      floats; of the shape of `x`.

    Raises:
      DataError: If `x` does not hold numbers, or holds infinite ones or whole
        numbers beyond int32.
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
            f"{owners.shape}; it needs one text or whole number per example."
        )
    if owners.dtype.kind == "S":
        return np.char.decode(owners, "utf-8", "replace")
    return owners.astype(str)


def _flags(flags: Array, name: str, path: str) -> Array:
    if (
        flags.ndim != 1
        or flags.dtype.kind not in "buif"
        or not np.isin(flags, (0, 1)).all()
    ):
        raise errors.DataError(
            f"{path} has {name} of type {flags.dtype} and shape "
            f"{flags.shape}; it needs True or False for each example."
        )
    if flags.all() or not flags.any():
        what = "test" if name == "is_test" else "choose"
        raise errors.DataError(
            f"{path} has {name} {bool(flags[0])} for every example; set it to "
            f"False for examples to train on, to True for those to {what} on."
        )
    return flags.astype(bool)
