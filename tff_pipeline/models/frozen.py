"""Frozen weights: named by a folder and a SHA-256, mapped, never sent.

A model that adapts a large base trains few of its weights. The others are the
same on every machine and in every round, so they need not travel: they lie in
a folder that `store` writes once, and a model function marks them:

    base = frozen.load("/models/words")

    def model_fn():
        with frozen.using(base):
            return tf.keras.Sequential([
                tf.keras.Input([8], dtype=tf.int32),
                tf.keras.layers.Embedding(20_000, 64, name="words"),
                tf.keras.layers.GlobalAveragePooling1D(),
                tf.keras.layers.Dense(2),
            ])

Here the folder holds one array, "words/embeddings": a variable is found by the
name that Keras gives it, so layers with frozen weights need a `name`. They are
ordinary variables of Keras that evaluation and export see. But their memory is
the file's, mapped once more by every graph and thread and held once by the
operating system, and a graph of TFF holds the file's path in their place.

A variable that `tf.gather` reads directly is copied by each later operation
that reads all of it. An embedding that is also the output's matrix therefore
gathers from `tf.convert_to_tensor(variable)`, which copies nothing.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
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
    """One array of `FrozenWeights`.

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
        """The file's size."""
        return math.prod(self.shape) * self.dtype.size

    def mapped(self) -> tf.Tensor:
        """Returns a tensor whose memory is the file, read only."""
        return tf.raw_ops.ImmutableConst(
            dtype=self.dtype, shape=self.shape, memory_region_name=self.path
        )


@dataclasses.dataclass(frozen=True)
class FrozenWeights:
    """Arrays in a folder, to be the frozen weights of models.

    Attributes:
      folder: Absolute path of the folder.
      sha256: SHA-256 of the manifest, which holds those of all files: two
        folders with the same hash hold the same arrays under the same names.
      arrays: Name of a variable -> its array.
    """

    folder: str
    sha256: str
    arrays: Mapping[str, FrozenArray]


def store(folder: str, arrays: Mapping[str, npt.NDArray[Any]]) -> FrozenWeights:
    """Writes arrays into a new folder, for `load`.

    The arrays are read one by one, so a mapping that makes each when it is
    asked for keeps no more than one in memory.

    Args:
      folder: A folder on this machine that does not exist; its parent does.
      arrays: Name of a variable, as Keras gives it but without ":0" -> its
        value, numbers of any dtype that TensorFlow knows.

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
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
        path = os.path.join(temporary, MANIFEST)
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"arrays": entries}, indent=2) + "\n")
    return load(folder)


def _file(number: int) -> str:
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
    """Reads what a folder of frozen weights holds, and checks its files.

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
        arrays = {
            entry["name"]: FrozenArray(
                os.path.join(folder, _file(number)),
                tuple(map(int, entry["shape"])),
                tf.as_dtype(entry["dtype"]),
                entry["sha256"],
            )
            for number, entry in enumerate(json.loads(text)["arrays"])
        }
    except (ValueError, TypeError, KeyError) as error:
        raise errors.DataError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it, "
            "or store the frozen weights again."
        ) from None
    for name, array in arrays.items():
        _check(name, array)
    return FrozenWeights(folder, hashlib.sha256(text).hexdigest(), arrays)


def _check(name: str, array: FrozenArray) -> None:
    """Raises `DataError` unless an array's file is the one that was stored."""
    try:
        status = os.stat(array.path)
    except OSError as error:
        raise errors.DataError(
            f"{array.path}, the frozen weights {name}, cannot be read "
            f"({error.strerror}); restore it, or store them again."
        ) from None
    # TensorFlow takes a file that is too long without a word.
    if status.st_size != array.num_bytes:
        raise errors.DataError(
            f"{array.path} has {status.st_size} bytes, but the frozen weights "
            f"{name}, {array.dtype.name} of shape {array.shape}, take "
            f"{array.num_bytes}; restore it, or store them again."
        )
    sha256 = _sha256(array.path, status.st_ino, status.st_mtime_ns)
    if sha256 != array.sha256:
        raise errors.DataError(
            f"{array.path}, the frozen weights {name}, has the SHA-256 "
            f"{sha256[:12]}..., but {array.sha256[:12]}... was stored; restore "
            "it, or store them again."
        )


@functools.cache
def _sha256(path: str, inode: int, modified: int) -> str:
    """SHA-256 of a file, computed anew if it became another one."""
    del inode, modified
    return environment.hashes(path)[os.path.basename(path)]


@contextlib.contextmanager
def using(weights: FrozenWeights) -> Iterator[None]:
    """Freezes the variables that a model makes within the block, by name.

    Variables of other names are made as always. Several blocks may be nested,
    each with weights of its own.

    Args:
      weights: The values; each must be one variable of the model. The model has
        to make its variables within the block: call a subclassed one there.

    Raises:
      ConfigError: If a variable has another shape or dtype than the array of
        its name, two variables have the same name, or an array is no variable
        of the model.
    """
    others: list[str] = []
    frozen: set[str] = set()

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        scope = tf.get_current_name_scope()
        name = "/".join(filter(None, (scope, arguments.get("name"))))
        if name not in weights.arrays:
            others.append(name)
            return next_creator(**arguments)
        if name in frozen:
            raise errors.ConfigError(
                f"The model makes two variables {name}, and {weights.folder} "
                "holds one; give its layers different names."
            )
        frozen.add(name)
        return _frozen_variable(weights, name, next_creator, arguments)

    with tf.variable_creator_scope(create):
        yield
    missing = [name for name in weights.arrays if name not in frozen]
    if missing:
        raise errors.ConfigError(
            f"{weights.folder} holds {missing[0]}"
            + (f" and {len(missing) - 1} more" if missing[1:] else "")
            + " that the model did not make within frozen.using; it made "
            f"{', '.join(filter(None, others)) or 'no others'}. Name its "
            "layers as in the stored weights, and build it there."
        )


def _frozen_variable(
    weights: FrozenWeights,
    name: str,
    next_creator: Callable[..., Any],
    arguments: Mapping[str, Any],
) -> Any:
    """Makes a variable whose memory is the file of its array."""
    array = weights.arrays[name]
    # Variables that are no layer's may leave these to their value.
    shape = arguments.get("shape")
    shape = array.shape if shape is None else tuple(shape)
    dtype = tf.as_dtype(arguments.get("dtype") or array.dtype)
    if (shape, dtype) != (array.shape, array.dtype):
        raise errors.ConfigError(
            f"The model's variable {name} is {dtype.name} of shape {shape}, "
            f"but {weights.folder} holds {array.dtype.name} of shape "
            f"{array.shape}; use the weights that the model was made for."
        )
    # Where variables begin, and not within the function that makes one.
    with tf.init_scope():
        value = array.mapped()
    variable = next_creator(**{**arguments, "initial_value": value})
    # An update in place writes into memory that is read only: no exception
    # would come of it, but the process's end.
    for method in dir(variable):
        if method.startswith(("assign_", "scatter_")):
            setattr(variable, method, functools.partial(_refuse_update, name))
    variable.frozen_weights = weights
    return variable


def _refuse_update(name: str, *_: Any, **__: Any) -> None:
    raise errors.ConfigError(
        f"The model updates its variable {name}, which is frozen; leave it out "
        "of the frozen weights."
    )


def weights_of(variable: tf.Variable) -> Optional[FrozenWeights]:
    """Returns the weights that a variable was frozen with, else `None`.

    Args:
      variable: Any variable, of Keras's mixed precision too.
    """
    return getattr(variable, "frozen_weights", None)
