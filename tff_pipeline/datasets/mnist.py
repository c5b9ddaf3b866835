"""Reads MNIST from its official IDX files, and QMNIST's names of the writers.

LeCun, Cortes and Burges 1998; Yadav and Bottou 2019, "Cold Case: the Lost
MNIST Digits" (the writers). Files may be gzipped (`.gz`) or plain.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import packed

Array = npt.NDArray[Any]

_WRITER_COLUMN = 2


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
        labels = read_idx(labels_path, np.uint8, [])
        if len(images) != len(labels):
            raise errors.DataError(
                f"{images_path} holds {len(images)} images, but "
                f"{labels_path} holds {len(labels)} labels; they must come "
                "from one download."
            )
        if not len(labels):
            raise errors.DataError(f"{images_path} holds no images.")
        if labels.max() > 9:
            raise errors.DataError(
                f"{labels_path} holds the label {labels.max()}; MNIST's are "
                "0 to 9."
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
    remedy = "--data_dir must name the folder of MNIST's IDX files"
    return packed.find(data_dir, name, remedy)


# IDX: two zero bytes, a type code, the number of dimensions, each dimension
# as a big-endian int32, then the values.
_TYPE_CODES = {np.dtype(np.uint8): 0x08, np.dtype(">i4"): 0x0C}


def read_idx(path: str, dtype: npt.DTypeLike, shape: Sequence[int]) -> Array:
    """Reads an IDX file, gzipped if its name ends in `.gz`.

    Args:
      path: The file.
      dtype: The expected type of its values, uint8 or big-endian int32.
      shape: The expected shape of one item.

    Returns:
      An array of this type, of shape [n, *shape].

    Raises:
      DataError: If the file cannot be read, or has another type or shape.
    """
    content = packed.read(path)
    dtype = np.dtype(dtype)
    magic = bytes([0, 0, _TYPE_CODES[dtype], 1 + len(shape)])
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
    expected = math.prod(dimensions) * dtype.itemsize
    if len(content) - header != expected:
        raise errors.DataError(
            f"{path} holds {len(content) - header} bytes of values where its "
            f"header promises {expected}; fetch it again."
        )
    return np.frombuffer(content, dtype, offset=header).reshape(dimensions)
