"""Reads images from folders of clients, which hold folders of classes."""

import os
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np
from PIL import Image

from tff_pipeline import errors
from tff_pipeline.datasets.readers.sqlite_writer import Row

_ENDINGS = (".png", ".jpg", ".jpeg")
_GRAY = ("1", "L", "LA", "I", "I;16", "F")


def has_images(path: str) -> bool:
    """Returns whether a folder holds CLIENT/CLASS/*.png or *.jpg.

    Args:
      path: The folder.
    """
    return next(_images(path), None) is not None


def read(
    path: str, size: Optional[Sequence[int]] = None
) -> tuple[Iterator[Row], list[str]]:
    """Finds images; each is read when the iterator comes to it.

    Args:
      path: A folder that holds CLIENT/CLASS/*.png or *.jpg.
      size: Height and width in pixels that all images are scaled to; by
        default all must have the size of the first one.

    Returns:
      (examples, the classes' names, sorted). `x` is uint8 [height, width,
      channels], with one channel if the first image is gray, otherwise red,
      green and blue; `y` is int32 [], the class's place among the names.

    Raises:
      DataError: If there are fewer than two classes; while reading, if an image
        is damaged or of another size.
    """
    names = sorted({label for _, label, _ in _images(path)})
    if len(names) < 2:
        raise errors.DataError(
            f"{path} has images of one class only, {names[0]!r}; there is "
            "nothing to learn: name its files CLIENT/CLASS/*.png or *.jpg."
        )
    return _rows(path, size, names), names


def _images(path: str) -> Iterator[tuple[str, str, str]]:
    """Yields (client, class, path) of every image, sorted."""
    for client in _folders(path):
        for label in _folders(os.path.join(path, client)):
            folder = os.path.join(path, client, label)
            for name in sorted(os.listdir(folder)):
                if name.lower().endswith(_ENDINGS) and name[0] != ".":
                    yield client, label, os.path.join(folder, name)


def _folders(path: str) -> list[str]:
    return sorted(
        name
        for name in os.listdir(path)
        if name[0] != "." and os.path.isdir(os.path.join(path, name))
    )


def _rows(
    path: str, size: Optional[Sequence[int]], names: Sequence[str]
) -> Iterator[Row]:
    mode, first = None, None
    for client, label, file in _images(path):
        try:
            with Image.open(file) as image:
                if mode is None:
                    mode = "L" if image.mode in _GRAY else "RGB"
                pixels = image.convert(mode)
                if size is not None:
                    height, width = size
                    pixels = pixels.resize((width, height))
        # Pillow's readers raise whatever they stumble on: SyntaxError for a
        # broken PNG, struct.error, IndexError, and more with every version.
        except Exception as error:
            raise errors.DataError(
                f"{file} cannot be read as an image ({error}); mend or remove "
                "it."
            ) from None
        if first is None:
            first = (file, pixels.size)
        if pixels.size != first[1]:
            raise errors.DataError(
                f"{file} is of {pixels.height}x{pixels.width} pixels, but "
                f"{first[0]} of {first[1][1]}x{first[1][0]}; scale all to one "
                "size with --image_size."
            )
        x = np.asarray(pixels, np.uint8)
        if mode == "L":
            x = x[..., np.newaxis]
        yield Row(client, "train", x, np.array(names.index(label), np.int32))
