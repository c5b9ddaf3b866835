"""Reads safetensors files: one, or several that an index lists."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.models.pretrained import libraries
from tff_pipeline.models.transformer.architecture import Shape

SINGLE = "model.safetensors"
INDEX = f"{SINGLE}.index.json"
# As the file format writes them; bfloat16 and float16 fit in float32.
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclasses.dataclass(frozen=True)
class TensorFiles:
    """Weights in the safetensors files of a folder.

    Attributes:
      paths: Name of a weight -> path of its file.
      shapes: Name of a weight -> its shape.
    """

    paths: Mapping[str, str]
    shapes: Mapping[str, Shape]

    @property
    def files(self) -> list[str]:
        """The paths of the files, each once."""
        return list(dict.fromkeys(self.paths.values()))

    def read(self, name: str) -> npt.NDArray[Any]:
        """Reads one weight as float32, the file's bfloat16 and float16 too.

        Args:
          name: One of `shapes`.

        Raises:
          DataError: If its numbers are not floating-point, or the file can no
            longer be read.
        """
        path = self.paths[name]
        with _opened(path) as file:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _FLOATS:
                raise errors.DataError(
                    f"{path} holds {name} as {dtype}; a weight must be one of: "
                    f"{', '.join(_FLOATS)}. Give a checkpoint that is not "
                    "quantized."
                )
            return file.get_tensor(name).astype(np.float32)


def find(folder: str) -> TensorFiles:
    """Finds the safetensors files of a folder and reads their headers.

    Args:
      folder: The folder.

    Returns:
      The weights of model.safetensors or, where that is not, of the files that
      model.safetensors.index.json lists.

    Raises:
      ConfigError: If the package safetensors is not installed.
      DataError: If a file is missing, too short or too long for its header, or
        otherwise damaged.
    """
    single, index = (os.path.join(folder, name) for name in (SINGLE, INDEX))
    if os.path.isfile(single):
        paths = [single]
    elif os.path.isfile(index):
        paths = [os.path.join(folder, name) for name in _listed(index)]
    else:
        raise errors.DataError(
            f"{folder} holds neither {SINGLE} nor {INDEX}; weights in another "
            "format, such as pytorch_model.bin, are not read: save the model "
            "with safe_serialization=True."
        )
    owners: dict[str, str] = {}
    shapes: dict[str, Shape] = {}
    for path in paths:
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                if name in owners:
                    raise errors.DataError(
                        f"{path} and {owners[name]} both hold {name}; restore "
                        "the checkpoint's files."
                    )
                owners[name] = path
                shapes[name] = tuple(file.get_slice(name).get_shape())
    return TensorFiles(owners, shapes)


def _listed(index: str) -> list[str]:
    """Returns the names of the files that an index lists, sorted."""
    try:
        with open(index, "rb") as file:
            names = {*json.load(file)["weight_map"].values()}
        # A file elsewhere is no part of the folder.
        if not names or any(os.path.basename(name) != name for name in names):
            raise ValueError("it lists no files, or files elsewhere")
        return sorted(names)
    except (
        *(OSError, ValueError, KeyError, TypeError, AttributeError),
        RecursionError,
    ) as error:
        raise errors.DataError(
            f"{index} cannot be read ({error}); restore it."
        ) from None


def _opened(path: str) -> Any:
    """Opens a safetensors file, whose header the library then checks."""
    safetensors = libraries.load("safetensors", path)
    try:
        return safetensors.safe_open(path, framework="np")
    except (OSError, safetensors.SafetensorError) as error:
        raise errors.DataError(
            f"{path} cannot be read ({error}); restore it."
        ) from None
