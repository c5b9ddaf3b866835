"""Reads an image file as 8-bit pixels: upright, on white, gray or colour.

Images of more than 8 bits are scaled by the depth that their values use: a
12-bit picture is usually kept in a file of 16 bits, which does not say so.
"""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt
from PIL import Image

from tff_pipeline import errors

Array = npt.NDArray[Any]

ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".jp2"),
)
# Others are not tried: Pillow would start Ghostscript for EPS.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
_PREVIEWED = "MPO"  # A JPEG that has previews after its picture.
_GRAY = ("1", "L", "LA", "La")
_DEPTHS = (8, 10, 12, 14, 16)
_ORIENTATION = 0x0112  # The tag of EXIF and TIFF.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Survey(NamedTuple):
    """What images have in common.

    Attributes:
      gray: Whether all are gray.
      bits: The depth of those that have more than 8 bits: the least of 8, 10,
        12, 14 and 16 that holds their values; 8 if there are none.
      deep: The number of images of more than 8 bits.
      transparent: The number of images with transparent parts.
    """

    gray: bool
    bits: int
    deep: int
    transparent: int


def survey(paths: Iterable[str]) -> Survey:
    """Looks at images, of which most need not be decoded for this.

    Args:
      paths: The files.

    Raises:
      DataError: If one cannot be read as an image, or is not of a kind that
        `read` can bring to 8 bits; the message names it.
    """
    gray, highest, deep, transparent = True, 0, 0, 0
    deep_color: Optional[str] = None
    for path in paths:
        with _opened(path) as image:
            gray = gray and (image.mode in _GRAY or _is_deep_gray(image))
            if _is_deep_gray(image):
                deep += 1
                highest = max(highest, int(_deep_values(image, path).max()))
            elif ";16" in str(getattr(image, "tile", ())):
                deep, deep_color = deep + 1, path
                # Pillow keeps the higher byte alone.
                high = int(np.asarray(image.convert("RGB")).max())
                highest = max(highest, 256 * high + 255)
            elif image.has_transparency_data:
                alpha = image.convert("RGBA").getchannel("A")
                transparent += int(np.asarray(alpha).min() < 255)
    bits = next(depth for depth in _DEPTHS if highest < 2**depth)
    if deep_color is not None and bits < _DEPTHS[-1]:
        raise errors.DataError(
            f"{deep_color} is a colour image of 16 bits, of which only {bits} "
            "are used in its folder; save such images with 8 bits a channel."
        )
    return Survey(gray, bits, deep, transparent)


def read(
    path: str, common: Survey, size: Optional[Sequence[int]] = None
) -> Array:
    """Reads an image.

    It is turned as its EXIF data say. What is transparent is white.

    Args:
      path: The file.
      common: What `survey` found in all images that are read together.
      size: Height and width in pixels to scale it to; by default its own.

    Returns:
      uint8 [height, width, channels], with one channel if `common.gray`,
      otherwise red, green and blue.

    Raises:
      DataError: If it cannot be read as an image.
    """
    with _opened(path) as image:
        image.load()
        if _is_deep_gray(image):
            values = _deep_values(image, path) * (255 / (2**common.bits - 1))
            pixels = Image.fromarray(np.rint(values).astype(np.uint8))
        elif image.has_transparency_data:
            paint = image.convert("RGBA")
            white = Image.new("RGBA", paint.size, "white")
            pixels = Image.alpha_composite(white, paint)
        else:
            pixels = image
        pixels = pixels.convert("L" if common.gray else "RGB")
        turn = _TURNS.get(_orientation(image))
        if turn is not None:
            pixels = pixels.transpose(turn)
        if size is not None:
            height, width = size
            pixels = pixels.resize((width, height))
        return np.atleast_3d(np.asarray(pixels, np.uint8))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        # Pillow 13 maps a file that it knows by name into memory, and garbles
        # a TIFF that is turned. It warns of damaged EXIF data at any time.
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(file, formats=_FORMATS) as image:
                count = getattr(image, "n_frames", 1)
                if count > 1 and image.format != _PREVIEWED:
                    raise errors.DataError(
                        f"{path} holds {count} pictures or pages; save the one "
                        "to learn from as an image of its own, or remove the "
                        "file."
                    )
                yield image
    except errors.DataError:
        raise
    # Pillow's readers raise whatever they stumble on: SyntaxError for a
    # broken PNG, struct.error, IndexError, and more with every version.
    except Exception as error:
        raise errors.DataError(
            f"{path} cannot be read as an image ({error}); mend or remove it."
        ) from None


def _is_deep_gray(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _deep_values(image: Image.Image, path: str) -> Array:
    """Returns float64 [height, width], whole numbers from 0 to 65535."""
    values = np.asarray(image, np.float64)
    whole = (values == np.rint(values)).all()
    if not whole or values.min() < 0 or values.max() >= 2**16:
        raise errors.DataError(
            f"{path} has pixels that are no whole numbers from 0 to 65535; "
            "save it with 8 or 16 bits a pixel."
        )
    return values


def _orientation(image: Image.Image) -> int:
    """Returns the orientation of 1 to 8 that a loaded image still has."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    # EXIF data that are damaged say nothing, as to every viewer.
    except Exception:
        return 1
