"""Reads arrays of NPZ files; unpickles nothing and trusts no stated size.

NumPy's own reader allocates what an array's header promises before it looks at
the data, and answers a damaged header with errors of its parser.
"""

import math
import tokenize
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from tff_pipeline import errors
from tff_pipeline.datasets.readers import packed

Array = npt.NDArray[Any]

_HEADERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
# Deflate compresses by at most this factor.
_MOST_DEFLATED = 1032
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


def read(
    path: str, names: Collection[str]
) -> tuple[dict[str, Array], list[str]]:
    """Reads named arrays of an NPZ file.

    Args:
      path: The file.
      names: Names of the arrays to read; those that are missing are skipped.

    Returns:
      (name -> array, the names of all arrays in the file).

    Raises:
      DataError: If the file cannot be read, or one of these arrays holds
        objects or contradicts its header.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename[: -len(".npy")]: info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            arrays = {
                name: _array(f"{path}: {name}", archive, members[name])
                for name in names
                if name in members
            }
    except packed.ZIP_ERRORS as error:
        raise errors.DataError(
            f"{path} cannot be read as an NPZ file "
            f"({str(error).rstrip('.')}); it may be damaged or only half "
            "there: write or fetch it again."
        ) from None
    return arrays, list(members)


def _array(
    place: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Array:
    with archive.open(info) as file:
        try:
            version = npy.read_magic(file)
            # Version 3 is for columns with names, which no task can use.
            shape, _, dtype = _HEADERS[version](file)
        # `KeyError` comes from an unknown version; the errors after it from
        # `literal_eval` and NumPy's second try at headers.
        except (
            *(ValueError, KeyError, TypeError, SyntaxError, RecursionError),
            *(MemoryError, tokenize.TokenError),
        ) as error:
            raise _not_npy(place, error) from None
        if dtype.hasobject:
            raise errors.DataError(
                f"{place} holds pickled Python objects, which are never "
                "opened; save it as an array of numbers or text."
            )
        promised = math.prod(shape) * dtype.itemsize
        there = info.file_size - file.tell()
        most = _MOST_DEFLATED * (info.compress_size + 1)
        if promised != there or there > most or not dtype.itemsize:
            raise errors.DataError(
                f"{place} is of {promised} bytes by its header, {dtype} of "
                f"shape {shape}, but the file holds {min(there, most)}; write "
                "it again."
            )
    with archive.open(info) as file:
        try:
            array = npy.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise _not_npy(place, error) from None
    _check_text(place, array)
    return array


def _not_npy(place: str, error: Exception) -> errors.DataError:
    reason = " ".join(str(error).split())[:200]
    return errors.DataError(
        f"{place} cannot be read as an NPY array ({reason}); save it as an "
        "array of numbers or text."
    )


def _check_text(place: str, array: Array) -> None:
    """Refuses text with numbers that are no characters to Python."""
    if array.dtype.kind != "U":
        return
    codes = np.frombuffer(array.tobytes(), array.dtype.byteorder + "u4")
    low, high = _SURROGATES
    if ((codes > _LAST_CHARACTER) | ((codes >= low) & (codes <= high))).any():
        raise errors.DataError(
            f"{place} holds numbers that are no characters of Unicode; save "
            "it again as text."
        )
