"""Stores frozen weights in a folder, and checks that they are still the same.

    words/frozen.json  name, shape, dtype and SHA-256 of each array
    words/00000.raw    the first array's numbers, little-endian, in C order
    words/00001.raw    the second array's, and so on
    words/...          files that belong to them, such as a tokenizer

`models.frozen` makes the variables of a model from them.
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.runs import environment

MANIFEST = "frozen.json"


@dataclasses.dataclass(frozen=True)
class FrozenArray:
    """Array of `FrozenWeights`, in a file.

    Attributes:
      path: Absolute path of the file with its numbers: little-endian, in C
        order, and nothing else.
      shape: The array's shape.
      dtype: The array's dtype.
      sha256: SHA-256 of the file, in hexadecimal digits.
    """

    path: str
    shape: tuple[int, ...]
    dtype: tf.DType
    sha256: str

    @property
    def num_bytes(self) -> int:
        """Size of the file, in bytes."""
        return math.prod(self.shape) * self.dtype.size

    def mapped(self) -> tf.Tensor:
        """Returns a tensor whose memory is the file, read only."""
        return tf.raw_ops.ImmutableConst(
            dtype=self.dtype, shape=self.shape, memory_region_name=self.path
        )


@dataclasses.dataclass(frozen=True)
class FrozenWeights:
    """Arrays in a folder that become the frozen weights of models.

    Attributes:
      folder: Absolute path of the folder.
      sha256: SHA-256 of the manifest, which holds those of all files: two
        folders with the same hash hold the same arrays under the same names.
      arrays: Name of a variable -> its array.
      files: Name -> absolute path of each file that was stored with them.
    """

    folder: str
    sha256: str
    arrays: Mapping[str, FrozenArray]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def store(
    folder: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    files: Optional[Mapping[str, bytes]] = None,
) -> FrozenWeights:
    """Writes arrays into a new folder, for `load`.

    The arrays are read one by one, so a mapping that makes each when it is
    asked for keeps no more than one in memory.

    Args:
      folder: A folder on this machine that does not exist; its parent does.
      arrays: Name of a variable, as Keras gives it but without ":0" -> its
        value, numbers of any dtype that TensorFlow knows.
      files: Name -> content of files that belong to the weights, such as a
        tokenizer; none by default.

    Returns:
      The stored weights.

    Raises:
      DataError: If the folder exists, there are no arrays, or one of them is
        empty or does not hold numbers.
      RunDirectoryError: If the folder cannot be written.
    """
    if storage.exists(folder):
        raise errors.DataError(
            f"{folder} exists; give another folder for the frozen weights, or "
            "remove it."
        )
    if not arrays:
        raise errors.DataError(
            f"There are no arrays for {folder}; give at least one."
        )
    entries = []
    files = files or {}
    with durable.folder(folder, MANIFEST) as temporary:
        for number, (name, array) in enumerate(arrays.items()):
            data = _little_endian(name, array)
            with open(os.path.join(temporary, _file(number)), "wb") as file:
                file.write(data)
            entries.append(
                {
                    "name": name,
                    "shape": list(array.shape),
                    "dtype": tf.as_dtype(array.dtype).name,
                    "sha256": _hash(data),
                }
            )
        manifest: dict[str, Any] = {"arrays": entries}
        for name, content in files.items():
            with open(os.path.join(temporary, name), "wb") as file:
                file.write(content)
        if files:
            manifest["files"] = {
                name: hashlib.sha256(content).hexdigest()
                for name, content in files.items()
            }
        path = os.path.join(temporary, MANIFEST)
        with open(path, "wb") as file:
            file.write((json.dumps(manifest, indent=2) + "\n").encode())
    return load(folder)


def hash_of(name: str, array: npt.NDArray[Any]) -> str:
    """Computes the SHA-256 that a stored array has, in hexadecimal digits.

    Args:
      name: The name of the variable, for the error.
      array: Its value.

    Raises:
      DataError: If it is empty or does not hold numbers.
    """
    return _hash(_little_endian(name, array))


def _hash(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _file(number: int) -> str:
    """Returns the name of an array's file, by its place in the manifest."""
    return f"{number:05d}.raw"


def _little_endian(name: str, array: npt.NDArray[Any]) -> memoryview:
    """Returns the bytes of an array as its file holds them."""
    dtype = tf.as_dtype(array.dtype)
    if not array.size or dtype in (tf.string, tf.resource, tf.variant):
        raise errors.DataError(
            f"The array {name} is of shape {array.shape} and dtype "
            f"{array.dtype}; frozen weights are arrays of at least one number."
        )
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    # As bytes, for NumPy has no buffers of bfloat16.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def load(folder: str) -> FrozenWeights:
    """Reads the manifest of a folder of frozen weights, and checks its files.

    The sizes are checked in every call. A file is read and hashed once in a
    process, and again only after it was touched.

    Args:
      folder: A folder on this machine that `store` wrote.

    Returns:
      The weights, none of which are in memory yet.

    Raises:
      DataError: If a file is missing, of another size than its array, or
        differs from what was stored.
    """
    folder = os.path.abspath(folder)
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); name a folder that "
            "tff_pipeline.models.frozen.store wrote on this machine."
        ) from None
    try:
        manifest = json.loads(text)
        arrays = {
            entry["name"]: FrozenArray(
                os.path.join(folder, _file(number)),
                tuple(map(int, entry["shape"])),
                tf.as_dtype(entry["dtype"]),
                entry["sha256"],
            )
            for number, entry in enumerate(manifest["arrays"])
        }
        files = dict(manifest.get("files", {}))
    except (ValueError, TypeError, KeyError) as error:
        raise errors.DataError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it, "
            "or store the frozen weights again."
        ) from None
    for name, array in arrays.items():
        _check(name, array)
    for name, sha256 in files.items():
        _check_hash(os.path.join(folder, name), sha256, name)
    return FrozenWeights(
        folder,
        hashlib.sha256(text).hexdigest(),
        arrays,
        {name: os.path.join(folder, name) for name in files},
    )


def _check(name: str, array: FrozenArray) -> None:
    """Checks that an array's file is the one that was stored."""
    status = _status(array.path, name)
    # TensorFlow takes a file that is too long without a word.
    if status.st_size != array.num_bytes:
        raise errors.DataError(
            f"{array.path} has {status.st_size} bytes, but the frozen weights "
            f"{name}, {array.dtype.name} of shape {array.shape}, take "
            f"{array.num_bytes}; restore it, or store them again."
        )
    _check_hash(array.path, array.sha256, name)


def _check_hash(path: str, stored: str, name: str) -> None:
    """Checks that a file has the SHA-256 that was stored."""
    status = _status(path, name)
    sha256 = _sha256(path, status.st_ino, status.st_mtime_ns)
    if sha256 != stored:
        raise errors.DataError(
            f"{path}, the frozen weights {name}, has the SHA-256 "
            f"{sha256[:12]}..., but {stored[:12]}... was stored; restore it, "
            "or store them again."
        )


def _status(path: str, name: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise errors.DataError(
            f"{path}, the frozen weights {name}, cannot be read "
            f"({error.strerror}); restore it, or store them again."
        ) from None


@functools.cache
def _sha256(path: str, inode: int, modified: int) -> str:
    """Computes the SHA-256 of a file, once until the file is touched.

    The inode and the time of the last change, in nanoseconds, are there to tell
    a file that was touched from the one that was hashed.
    """
    del inode, modified
    return environment.hashes(path)[os.path.basename(path)]
