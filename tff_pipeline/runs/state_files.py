"""Writes and reads a checkpoint's files: arrays, and a manifest of hashes.

Nothing is pickled: arrays are read with `allow_pickle=False`.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Union, cast

import numpy as np
import numpy.typing as npt
import tree

from tff_pipeline import errors
from tff_pipeline.files import storage

Array = npt.NDArray[Any]
MANIFEST = "manifest.json"
FORMAT = 2


class InvalidCheckpointError(errors.RunDirectoryError):
    """A checkpoint's files are damaged or of another structure."""


def flatten(state: Any) -> dict[str, Array]:
    """Returns the arrays of a nested structure by path, in order.

    Args:
      state: Nested dicts, tuples and lists of arrays and NumPy scalars.

    Raises:
      TypeError: If `state` holds something that is not an array.

    >>> list(flatten({"weights": [np.zeros(2), np.zeros(3)]}))
    ['weights/0', 'weights/1']
    """
    arrays: dict[str, Array] = {}
    for path, leaf in tree.flatten_with_path(state):
        name, array = "/".join(map(str, path)), np.asarray(leaf)
        # What NumPy would pickle, or would not know when it reads it.
        if array.dtype.hasobject or array.dtype.kind == "V":
            raise TypeError(f"{name} is not an array of numbers or bytes.")
        if name in arrays:
            raise TypeError(f"Two values of the state are called {name}.")
        arrays[name] = array
    return arrays


def unflatten(arrays: Mapping[str, Array], like: Any, path: str) -> Any:
    """Returns the state whose `flatten` is `arrays`.

    Args:
      arrays: Arrays by path.
      like: A state of the structure that is expected.
      path: The folder that they were read from, to be named in errors.

    Raises:
      InvalidCheckpointError: If a name, shape or dtype is another.
    """
    expected = flatten(like)
    for name in {**expected, **arrays}:
        saved, needed = (
            f"{a[name].dtype}{list(a[name].shape)}" if name in a else None
            for a in (arrays, expected)
        )
        if saved != needed:
            raise InvalidCheckpointError(
                f"{path} holds {saved} as {name} where this run has "
                f"{needed}; it is of another model or algorithm."
            )
    return tree.unflatten_as(like, [arrays[name][()] for name in expected])


def array_header(name: str, array: Array) -> bytes:
    r"""Line that says an array's name, dtype and shape.

    >>> array_header("control", np.zeros([3], "<f4"))
    b'control <f4 (3,)\n'
    """
    return f"{name} {array.dtype.str} {array.shape}\n".encode()


def pieces(arrays: Mapping[str, Array]) -> Iterator[Union[bytes, memoryview]]:
    """Yields the content of arrays that counts: headers, and bytes in C order.

    Args:
      arrays: Arrays of any shape by name, none of Python objects.
    """
    for name, array in arrays.items():
        yield array_header(name, array)
        yield np.ascontiguousarray(array).data


def digest(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of arrays, in hexadecimal: of their `pieces`."""
    total = hashlib.sha256()
    for piece in pieces(arrays):
        total.update(piece)
    return total.hexdigest()


class _Summed:
    """A file that computes the SHA-256 of what is written through it.

    It can be neither read nor sought in, which a zip file does not need.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, content: Any) -> int:
        self._sha256.update(content)
        self._file.write(content)
        return memoryview(content).nbytes

    def flush(self) -> None:
        self._file.flush()

    def read(self, _: int = -1) -> bytes:
        raise io.UnsupportedOperation("read")

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def write_arrays(path: str, arrays: Mapping[str, Array]) -> str:
    """Writes an .npz file on this machine.

    Args:
      path: The file.
      arrays: Arrays of any shape by name, none of Python objects.

    Returns:
      SHA-256 of the file, in hexadecimal.

    Raises:
      OSError: If it cannot be written.
    """
    with storage.local.create(path) as file:
        summed = _Summed(file)
        # As `np.savez` does, which leaves its archive open if a disk is full:
        # Python would complain of that some time later.
        with zipfile.ZipFile(cast(BinaryIO, summed), "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as each:
                    np.lib.format.write_array(each, array, allow_pickle=False)
    return summed.hexdigest()


def _sha256_of(content: Any) -> str:
    """Returns the SHA-256 of a JSON value, whatever its white space."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_bytes(content: dict[str, Any]) -> bytes:
    """Returns a manifest in its only form, so that every changed byte shows.

    Args:
      content: What it holds, as JSON.
    """
    manifest = {"content": content, "sha256": _sha256_of(content)}
    return json.dumps(manifest, indent=2).encode()


def read_manifest(path: str, round_number: int) -> dict[str, Any]:
    """Reads and checks the manifest of a checkpoint.

    Args:
      path: The checkpoint's folder.
      round_number: The round that it must be of.

    Returns:
      What `manifest_bytes` was given.

    Raises:
      InvalidCheckpointError: If it is missing, damaged, of another format or
        another round.
    """
    try:
        raw = storage.file_system(path).read(os.path.join(path, MANIFEST))
        content = json.loads(raw)["content"]
        if manifest_bytes(content) != raw:
            raise ValueError(f"{MANIFEST} is not as it was written")
        if content["format"] != FORMAT:
            raise ValueError(
                f"its format is {content['format']}, and this version reads "
                f"{FORMAT}"
            )
        if content["round"] != round_number:
            raise ValueError(f"it is of round {content['round']}")
        return content
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from None


def read_arrays(
    path: str, content: Mapping[str, Any], part: str
) -> dict[str, Array]:
    """Reads the arrays of a checkpoint's file, and checks its SHA-256.

    Args:
      path: The checkpoint's folder.
      content: What its manifest holds.
      part: The file's name, such as state.npz.

    Raises:
      InvalidCheckpointError: If it is missing or damaged.
    """
    try:
        raw = storage.file_system(path).read(os.path.join(path, part))
        if content["sha256"][part] != hashlib.sha256(raw).hexdigest():
            raise ValueError(f"{part} does not have its SHA-256")
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in content["arrays"][part]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: Exception) -> InvalidCheckpointError:
    return InvalidCheckpointError(
        f"{path} is damaged ({type(error).__name__}: {error})."
    )
