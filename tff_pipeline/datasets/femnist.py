"""Reads FEMNIST: handwritten characters of 62 classes, by writer.

Caldas et al. 2018, "LEAF: A Benchmark for Federated Settings" (the writers and
the split of each one's characters); the images are NIST's Special Database 19.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import npz_file

Array = npt.NDArray[Any]

TRAIN = "femnist_300writers_train.npz"
TEST = "femnist_300writers_test.npz"
UNSEEN = "femnist_240unseen_writers_eval.npz"
CLASSES = 62

# The arrays of each file: the kind of values, and the shape of one item.
_ARRAYS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "pixels": ("u", (28, 28)),
    "labels": ("u", ()),
    "writer_ids": ("U", ()),
    "writer_offsets": ("i", ()),
}


class Part(NamedTuple):
    """Examples and their writers.

    Attributes:
      examples: n examples.
      writers: str of shape [n], the writer of each.
    """

    examples: Examples
    writers: Array


def load(data_dir: str) -> tuple[Part, Part, Part]:
    """Reads images of 300 writers to train and test on, and of 240 others.

    Args:
      data_dir: The folder of the three `.npz` files.

    Returns:
      (train, test, unseen) with 41,495, 4,763 and 7,350 images. `x` is uint8
      [n, 28, 28, 1], 255 where the paper is white. `y` is int32 [n]: 0 to 9
      are digits, 10 to 35 capitals, 36 to 61 small letters.

    Raises:
      DataError: If a file is missing, damaged or of another format; the message
        names it.
    """
    train, test, unseen = (
        _read(os.path.join(data_dir, name)) for name in (TRAIN, TEST, UNSEEN)
    )
    return train, test, unseen


def _read(path: str) -> Part:
    arrays = _arrays(path)
    pixels, labels, writers, offsets = (arrays[name] for name in _ARRAYS)
    if len(labels) != len(pixels):
        raise errors.DataError(
            f"{path} holds {len(pixels)} images but {len(labels)} labels; "
            "fetch it again."
        )
    if len(labels) and labels.max() >= CLASSES:
        raise errors.DataError(
            f"{path} holds the label {labels.max()}; FEMNIST's are 0 to "
            f"{CLASSES - 1}."
        )
    sizes = np.diff(offsets)
    if (
        len(sizes) != len(writers)
        or (sizes < 0).any()
        or offsets[0] != 0
        or offsets[-1] != len(labels)
    ):
        raise errors.DataError(
            f"{path}: writer_offsets do not cut {len(labels)} images into "
            f"{len(writers)} writers' parts; fetch it again."
        )
    return Part(
        Examples(pixels[..., np.newaxis], labels.astype(np.int32)),
        np.repeat(writers, sizes),
    )


def _arrays(path: str) -> dict[str, Array]:
    """Reads the arrays of `_ARRAYS` and checks their kinds and shapes."""
    if not os.path.exists(path):
        raise errors.DataError(
            f"{path} does not exist; --data_dir must name the folder of "
            f"{TRAIN}, {TEST} and {UNSEEN}."
        )
    arrays, present = npz_file.read(path, _ARRAYS)
    for name, (kind, shape) in _ARRAYS.items():
        if name not in arrays:
            raise errors.DataError(
                f"{path} has no array {name}; it holds: "
                f"{', '.join(present) or 'none'}."
            )
        array = arrays[name]
        if array.dtype.kind != kind or array.shape[1:] != shape:
            raise errors.DataError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; it "
                "is not one of FEMNIST's files."
            )
    return arrays
