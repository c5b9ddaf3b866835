"""Reads MNIST from its official IDX files, and QMNIST's names of the writers.

LeCun, Cortes and Burges 1998; Yadav and Bottou 2019, "Cold Case: the Lost
MNIST Digits" (the writers). Files may be gzipped or plain, their names have a
dot or a dash (`train-images.idx3-ubyte`), and each may lie in a folder of its
name. EMNIST's digits (Cohen et al. 2017) are read too.
"""

import math
import os
import re
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import packed

Array = npt.NDArray[Any]

_WRITER_COLUMN = 2
# A file's name with any of these between its words is the same.
_BETWEEN = "[-._ ]"
_EMNIST = re.compile(rf"emnist{_BETWEEN}\w+?{_BETWEEN}", re.IGNORECASE)


def load(data_dir: str) -> tuple[Examples, Examples]:
    """Reads the 60,000 training and 10,000 test images.

    Args:
      data_dir: The folder of `train-images-idx3-ubyte.gz` and its three
        siblings.

    Returns:
      (train, test); `x` is uint8 [n, 28, 28, 1], `y` int32 [n] with values
      from 0 to 9.

    Raises:
      DataError: If a file is missing, damaged or not IDX; the message names
        it.
    """

    def part(prefix: str) -> Examples:
        images_path = _find(data_dir, f"{prefix}-images-idx3-ubyte")
        labels_path = _find(data_dir, f"{prefix}-labels-idx1-ubyte")
        images = read_idx(images_path, np.uint8, [28, 28])
        # Programs that write labels of their own take wider numbers.
        labels = read_idx(labels_path, None, [])
        if _EMNIST.match(os.path.basename(images_path)):
            # EMNIST's images lie column by column.
            images = images.swapaxes(1, 2)
        if len(images) != len(labels):
            raise errors.DataError(
                f"{images_path} holds {len(images)} images, but "
                f"{labels_path} holds {len(labels)} labels; they must come "
                "from one download."
            )
        if not len(labels):
            raise errors.DataError(f"{images_path} holds no images.")
        if labels.min() < 0 or labels.max() > 9:
            wrong = labels.max() if labels.max() > 9 else labels.min()
            raise errors.DataError(
                f"{labels_path} holds the label {wrong}; MNIST's are 0 to 9: "
                "other images and labels are for --task=npz."
            )
        return Examples(images[..., np.newaxis], labels.astype(np.int32))

    return part("train"), part("t10k")


def load_writers(
    data_dir: str, num_train: int, num_test: int
) -> tuple[Array, Array]:
    """Reads the names of MNIST's writers from QMNIST's label files.

    Args:
      data_dir: The folder of `qmnist-train-labels-idx2-int.gz` and
        `qmnist-test-labels-idx2-int.gz`.
      num_train: The number of training images, 60,000 in MNIST.
      num_test: The number of test images, 10,000 in MNIST.

    Returns:
      (train, test): the writer of each image, such as "writer_0042", str
      [num_train] and str [num_test]. No writer is in both.

    Raises:
      DataError: If a file is missing, damaged, not IDX, or has fewer images;
        the message names it.
    """

    def part(prefix: str, images: int) -> Array:
        path = _find(data_dir, f"qmnist-{prefix}-labels-idx2-int")
        writers = read_idx(path, np.dtype(">i4"), [8])[:, _WRITER_COLUMN]
        if len(writers) < images:
            raise errors.DataError(
                f"{path} names the writers of {len(writers)} images, but "
                f"there are {images}; it must be QMNIST's file for them."
            )
        # QMNIST has more test images; its first 10,000 are MNIST's.
        return np.array([f"writer_{writer:04d}" for writer in writers[:images]])

    return part("train", num_train), part("test", num_test)


def _find(data_dir: str, name: str) -> str:
    """Finds a file by its name's words, see the module's text."""
    words = name.replace("t10k", "(?:t10k|test)").split("-")
    pattern = re.compile(
        rf"(?:{_EMNIST.pattern})?{_BETWEEN.join(words)}(?:\.gz)?",
        re.IGNORECASE,
    )
    found = {}
    for folder in (data_dir, *_folders(data_dir, pattern)):
        for file in sorted(os.listdir(folder)):
            path = os.path.join(folder, file)
            if pattern.fullmatch(file) and os.path.isfile(path):
                # Gzipped and plain are the same file; the first is taken.
                key = os.path.splitext(file)[0] if _is_gz(file) else file
                if key not in found or _is_gz(file):
                    found[key] = path
    if len(found) > 1:
        raise errors.DataError(
            f"{' and '.join(sorted(found.values())[:2])} could both be "
            f"{name}; keep one of them in --data_dir."
        )
    if not found:
        raise errors.DataError(
            f"{os.path.join(data_dir, name)}.gz does not exist (nor without "
            ".gz, nor with dots for dashes); --data_dir must name the folder "
            "of MNIST's IDX files."
        )
    return next(iter(found.values()))


def _is_gz(name: str) -> bool:
    return name.lower().endswith(".gz")


def _folders(data_dir: str, pattern: re.Pattern[str]) -> list[str]:
    """Returns folders that are named like the file in them."""
    if not os.path.isdir(data_dir):
        raise errors.DataError(
            f"{data_dir} is no folder; --data_dir must name the folder of "
            "MNIST's IDX files."
        )
    paths = [
        os.path.join(data_dir, name)
        for name in sorted(os.listdir(data_dir))
        if pattern.fullmatch(name)
    ]
    return [path for path in paths if os.path.isdir(path)]


# IDX: two zero bytes, a type code, the number of dimensions, each dimension
# as a big-endian int32, then the values.
_TYPE_CODES: dict[np.dtype[Any], int] = {
    np.dtype(np.uint8): 0x08,
    np.dtype(np.int8): 0x09,
    np.dtype(">i2"): 0x0B,
    np.dtype(">i4"): 0x0C,
}


def read_idx(
    path: str, dtype: Optional[npt.DTypeLike], shape: Sequence[int]
) -> Array:
    """Reads an IDX file, gzipped or plain.

    Args:
      path: The file.
      dtype: The expected type of its values: uint8, int8, or big-endian int16
        or int32; `None` for any of these.
      shape: The expected shape of one item.

    Returns:
      An array of this type (of the file's, for `None`), of shape [n, *shape].

    Raises:
      DataError: If the file cannot be read, or has another type or shape.
    """
    content = packed.read(path)
    if dtype is None:
        code = content[2] if len(content) > 2 else None
        known = (each for each in _TYPE_CODES if _TYPE_CODES[each] == code)
        kind = next(known, np.dtype(np.uint8))
    else:
        kind = np.dtype(dtype)
    magic = bytes([0, 0, _TYPE_CODES[kind], 1 + len(shape)])
    if content[:4] != magic:
        raise errors.DataError(
            f"{path} starts with the bytes {content[:4].hex() or 'none'}, not "
            f"{magic.hex()}; it is not the IDX file that its name says."
        )
    header = 4 * (2 + len(shape))
    if len(content) < header:
        raise errors.DataError(
            f"{path} ends within its header, after {len(content)} bytes; "
            "fetch it again."
        )
    dimensions = np.frombuffer(content[4:header], ">i4").tolist()
    if dimensions[1:] != list(shape):
        raise errors.DataError(
            f"{path} holds items of shape {dimensions[1:]}, not "
            f"{list(shape)}; it is not the IDX file that its name says."
        )
    expected = math.prod(dimensions) * kind.itemsize
    if len(content) - header != expected:
        raise errors.DataError(
            f"{path} holds {len(content) - header} bytes of values where its "
            f"header promises {expected}; fetch it again."
        )
    return np.frombuffer(content, kind, offset=header).reshape(dimensions)
