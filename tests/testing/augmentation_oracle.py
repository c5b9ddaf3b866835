"""The changes of `--augment` in NumPy and SciPy, one example after another.

What the changes in the client's graph must equal in distribution.
"""

import numpy as np
from scipy import ndimage

_SHIFT = 0.1  # Of the length of an axis, at most, either way.
_CROP = 0.8  # The least share of an axis that is kept.
_DEGREES = 15.0
_NOISE = 0.05  # Of the largest absolute value of an example.
_MASK = 0.2  # Of the time, at most.


def shift(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Moves each example by up to a tenth along its axes; edges repeat.

    By up to one place at least, for pictures as small as 8x8.
    """
    axes = x.shape[1:3]
    most = [max(1, int(_SHIFT * length)) for length in axes]
    moves = np.stack(
        [draw.integers(-m, m, len(x), endpoint=True) for m in most], axis=1
    )
    result = x
    for axis, length in enumerate(axes):
        # Where each place of the result comes from.
        places = np.arange(length) - moves[:, axis, np.newaxis]
        places = np.clip(places, 0, length - 1)
        places = np.expand_dims(
            places, [k for k in range(1, x.ndim) if k != axis + 1]
        )
        result = np.take_along_axis(result, places, axis + 1)
    return result


def crop(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Enlarges a random part of four fifths or more of each side."""

    def change(image: np.ndarray) -> np.ndarray:
        kept = draw.uniform(_CROP, 1.0)
        corner = draw.uniform(0, 1 - kept, 2) * (np.array(image.shape[:2]) - 1)
        return ndimage.affine_transform(
            image,
            np.diag([kept, kept, 1.0]),
            [*corner, 0.0],
            order=1,
            mode="nearest",
        )

    return np.stack([change(image) for image in x])


def rotate(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Turns each image by up to 15 degrees either way."""
    return np.stack(
        [
            ndimage.rotate(
                image,
                draw.uniform(-_DEGREES, _DEGREES),
                reshape=False,
                order=1,
                mode="nearest",
            )
            for image in x
        ]
    )


def noise(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of a twentieth of each one's largest value."""
    axes = tuple(range(1, x.ndim))
    # In floating point, where -32768 has an absolute value.
    largest = np.abs(x.astype(np.float64)).max(axes, keepdims=True, initial=0.0)
    noisy = x + _NOISE * largest * draw.standard_normal(x.shape)
    if np.issubdtype(x.dtype, np.integer):
        limits = np.iinfo(x.dtype)
        noisy = np.clip(np.round(noisy), limits.min, limits.max)
    return noisy.astype(x.dtype)


def time_mask(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Silences up to a fifth of each; Park et al. 2019, "SpecAugment"."""
    length = x.shape[1]
    widths = draw.integers(0, int(_MASK * length), len(x), endpoint=True)
    starts = draw.integers(0, length - widths, endpoint=True)
    place = np.arange(length)
    inside = (place >= starts[:, np.newaxis]) & (
        place < (starts + widths)[:, np.newaxis]
    )
    return np.where(inside, np.zeros([], x.dtype), x)
