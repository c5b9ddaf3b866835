"""Describes a pretrained transformer as others' files hold it.

A reader makes a `Checkpoint`, of which no weight is in memory yet, and `store`
converts it to a base folder one weight at a time.
"""

import dataclasses
from collections.abc import (
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import Architecture, Shape

# What a base's numbers may be.
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Stored:
    """Tells under which name, and how turned, a checkpoint holds a weight.

    Attributes:
      name: The checkpoint's name of the weight.
      transposed: Whether the matrix is stored [inputs, outputs].
      interleaved_heads: The number of heads whose rows lie as interleaved
        rotary positions need them, see `half_split`; 0 for none.
    """

    name: str
    transposed: bool = False
    interleaved_heads: int = 0

    def shape(self, shape: Shape) -> Shape:
        """Returns the shape in the checkpoint of a weight of `shape` here."""
        return shape[::-1] if self.transposed else shape

    def weight(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the weight of the checkpoint's `array`."""
        if self.interleaved_heads:
            array = half_split(array, self.interleaved_heads)
        return array.T if self.transposed else array


def half_split(array: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Brings the rows of interleaved rotary positions into halves.

    Rotary positions (Su et al. 2021) turn pairs of a head's numbers. Here and
    in Hugging Face's files the two of a pair stand half a head apart; in GGUF
    files of Llama-type models they are neighbours.

    >>> half_split(np.array([[0], [2], [1], [3]]), heads=1).ravel()
    array([0, 1, 2, 3])

    Args:
      array: A matrix of queries or keys, [heads * head_width, width].
      heads: The number of heads.

    Returns:
      The same rows, in each head first the even ones and then the odd ones.
    """
    rows = array.reshape(heads, -1, 2, *array.shape[1:])
    return rows.swapaxes(1, 2).reshape(array.shape)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Pretrained transformer in files of others, none of it in memory.

    Attributes:
      place: The file or folder, for errors.
      architecture: The transformer.
      stored: Name, as in `Architecture.weight_shapes` -> how the checkpoint
        holds that weight.
      shapes: The checkpoint's names -> shapes, all that its files hold but
        those of `left_out`.
      read: Reads the weight of one of these names, as floating-point numbers.
      files: Paths of the files with weights.
      left_out: The checkpoint's names of what is no part of the transformer,
        such as the head of a task.
      tokenizer: The content of `tokenizer.json`; `None` if there is none.
      settings: The tokenizer's special tokens and its chat template.
      origin: Where the weights came from before they were trained further;
        empty where that is not known.
    """

    place: str
    architecture: Architecture
    stored: Mapping[str, Stored]
    shapes: Mapping[str, Shape]
    read: Callable[[str], npt.NDArray[Any]]
    files: Sequence[str]
    left_out: Sequence[str] = ()
    tokenizer: Optional[bytes] = None
    settings: base.TokenizerSettings = dataclasses.field(
        default_factory=base.TokenizerSettings
    )
    origin: str = ""

    def __post_init__(self) -> None:
        """Raises `DataError` if names or shapes differ from the architecture's.

        The checkpoint's own names are in the error.
        """
        needs = {
            self.stored[name].name: self.stored[name].shape(shape)
            for name, shape in self.architecture.weight_shapes().items()
        }
        base.check_shapes(self.shapes, needs, self.place)


def check_layers(layers: Any, names: Collection[str], place: str) -> None:
    """Checks that a number of blocks is one that a file's weights can be.

    An architecture lists its weights block by block, so a damaged number would
    take all memory before the names are compared.

    Args:
      layers: The number of blocks that the checkpoint's config gives.
      names: The names of its weights.
      place: The checkpoint's file or folder, for the error.

    Raises:
      DataError: If there are more blocks than weights.
    """
    if isinstance(layers, int) and layers > len(names):
        raise errors.DataError(
            f"{place} is said to have {layers} layers and holds {len(names)} "
            "weights; give the checkpoint that belongs to its config."
        )


def numpy_dtype(dtype: str) -> Any:
    """Returns NumPy's dtype of a name of `DTYPES`.

    Raises:
      ConfigError: If it is no such name.
    """
    if dtype not in DTYPES:
        raise errors.ConfigError(
            f"A base's dtype is {dtype!r}, which must be one of: "
            f"{', '.join(DTYPES)}."
        )
    return tf.as_dtype(dtype).as_numpy_dtype


def num_bytes(architecture: Architecture, dtype: str) -> int:
    """Returns how many bytes the weights of an architecture take in `dtype`."""
    return architecture.num_parameters() * np.dtype(numpy_dtype(dtype)).itemsize


def store(
    checkpoint: Checkpoint, folder: str, dtype: str, source: str
) -> base.Base:
    """Converts a checkpoint to a base, one weight at a time.

    Args:
      checkpoint: The pretrained transformer.
      folder: A folder on this machine that does not exist; its parent does.
      dtype: One of `DTYPES`. To bfloat16 numbers are rounded to the nearest.
      source: Where the weights came from, for the base.

    Raises:
      ConfigError: If `dtype` is none of `DTYPES`.
      DataError: If a weight cannot be read.
      RunDirectoryError: If the folder cannot be written.
    """
    return base.store(
        folder,
        _Converted(checkpoint, numpy_dtype(dtype)),
        checkpoint.architecture,
        source=source,
        shapes=checkpoint.architecture.weight_shapes(),
        tokenizer=checkpoint.tokenizer,
        settings=checkpoint.settings,
    )


class _Converted(Mapping[str, npt.NDArray[Any]]):
    """Reads the weights of a checkpoint, each when it is asked for."""

    def __init__(self, checkpoint: Checkpoint, dtype: Any):
        self._checkpoint = checkpoint
        self._dtype = dtype

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        stored = self._checkpoint.stored[name]
        array = stored.weight(self._checkpoint.read(stored.name))
        return array.astype(self._dtype, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoint.stored)

    def __len__(self) -> int:
        return len(self._checkpoint.stored)
