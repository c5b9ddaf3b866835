"""Random changes to training examples, drawn in the client's graph.

Every change is a pure function of the examples and a key, the same bits in a
session and eagerly, and draws anew for each example. Evaluation never changes
its examples.
"""

from collections.abc import Callable, Sequence
from typing import Optional

import tensorflow as tf

from tff_pipeline import errors

# (x [n, ...], key int64 [2]) -> x changed, of the same shape and dtype.
Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Changes that suit images, [n, height, width, channels].
IMAGE = ("shift", "crop", "rotate", "noise")
# Changes that suit waveforms, [n, samples].
AUDIO = ("shift", "noise", "time_mask")

_SHIFT = 0.1  # Largest move either way, as a share of an axis.
_CROP = 0.8  # Least share of an axis that is kept.
_DEGREES = 15.0  # Largest angle either way.
_NOISE = 0.05  # Deviation, as a share of an example's largest absolute value.
_MASK = 0.2  # Longest silence, as a share of the samples.


def build(names: Optional[str], allowed: Sequence[str]) -> Optional[Change]:
    """Builds the chain of changes that `--augment` names.

    Example:
      >>> augment = build("shift,noise", IMAGE)
      >>> images = tf.zeros([3, 28, 28, 1], tf.uint8)
      >>> augment(images, tf.constant([7, 1], tf.int64)).shape
      TensorShape([3, 28, 28, 1])

    Args:
      names: Names of changes with commas between them, applied from left to
        right; `None` for no change.
      allowed: The names that suit the task's inputs, such as `IMAGE`.

    Returns:
      A function of `x`, a tensor of shape [n, ...] of a numeric dtype whose
      shape but for `n` is known when the graph is built, and of `key`, int64
      [2]. It returns changed examples of the same shape and dtype, and gives
      the same bits for the same arguments. `None` if `names` is.

    Raises:
      ConfigError: If a name is not among `allowed`; the message names it.
    """
    if names is None:
        return None
    chosen = names.split(",")
    for name in chosen:
        if name not in allowed:
            raise errors.ConfigError(
                f"--augment={names}: {name} does not suit this task's inputs; "
                f"these do: {', '.join(allowed) or 'none'}."
            )

    def augment(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        # By position, so that the same change twice draws twice.
        for position, name in enumerate(chosen):
            x = _CHANGES[name](x, _subkey(key, position))
        return x

    return augment


def shift(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Moves each example by up to a tenth along its axes; edges repeat.

    The largest move is at least one place, for images as small as 8x8.

    Args:
      x: Images [n, height, width, channels] or waveforms [n, samples].
      key: int64 [2].

    Returns:
      The moved examples, of `x`'s shape and dtype.
    """
    count = tf.shape(x)[0]
    result = x
    for axis, length in enumerate(x.shape.as_list()[1:3], start=1):
        most = max(1, int(_SHIFT * length))
        moves = tf.random.stateless_uniform(
            [count, 1], _subkey(key, axis), -most, most + 1, tf.int32
        )
        sources = tf.clip_by_value(tf.range(length) - moves, 0, length - 1)
        result = tf.gather(result, sources, axis=axis, batch_dims=1)
    return result


def crop(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Enlarges a random part of four fifths or more of each side.

    Args:
      x: Images [n, height, width, channels].
      key: int64 [2].

    Returns:
      The parts, interpolated to `x`'s shape, of its dtype.
    """
    count = tf.shape(x)[0]
    kept = tf.random.stateless_uniform([count], _subkey(key, 0), _CROP, 1.0)
    place = tf.random.stateless_uniform([count, 2], _subkey(key, 1))
    height, width = x.shape.as_list()[1:3]
    # Not place * (1 - kept) * (height - 1): graph optimizers would regroup its
    # constants, and give other bits than eager execution.
    top = place[:, 0] * ((height - 1) - kept * (height - 1))
    left = place[:, 1] * ((width - 1) - kept * (width - 1))
    zero = tf.zeros_like(kept)
    return _resampled(x, [kept, zero, left, zero, kept, top])


def rotate(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Turns each image about its middle by up to 15 degrees either way.

    Args:
      x: Images [n, height, width, channels].
      key: int64 [2].

    Returns:
      The turned images, edges repeated, of `x`'s shape and dtype.
    """
    degrees = tf.random.stateless_uniform(
        [tf.shape(x)[0]], key, -_DEGREES, _DEGREES
    )
    return rotate_by(x, degrees)


def rotate_by(x: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Turns each image counterclockwise about its middle; edges repeat.

    Args:
      x: Images [n, height, width, channels].
      degrees: float32 [n].

    Returns:
      The turned images, of `x`'s shape and dtype.
    """
    angle = degrees * (3.141592653589793 / 180)
    sine, cosine = tf.sin(angle), tf.cos(angle)
    height, width = x.shape.as_list()[1:3]
    row, column = (height - 1) / 2, (width - 1) / 2
    left = column - cosine * column + sine * row
    top = row - sine * column - cosine * row
    return _resampled(x, [cosine, -sine, left, sine, cosine, top])


def noise(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Adds Gaussian noise of a twentieth of each example's largest value.

    Args:
      x: Examples [n, ...]; integers are rounded and cut to their dtype's range.
      key: int64 [2].

    Returns:
      The noisy examples, of `x`'s shape and dtype.
    """
    values = _floating(x)
    # Not of the integers themselves: -32768 has no absolute value in int16.
    largest = tf.reduce_max(
        tf.abs(values), range(1, x.shape.rank), keepdims=True
    )
    normal = tf.random.stateless_normal(tf.shape(x), key, dtype=values.dtype)
    return _like(values + _NOISE * largest * normal, x)


def time_mask(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Silences one stretch of up to a fifth of each waveform.

    Park et al. 2019, "SpecAugment", section 2, time masking.

    Args:
      x: Waveforms [n, samples].
      key: int64 [2].

    Returns:
      The waveforms with zeros in the stretch, of `x`'s shape and dtype.
    """
    count, length = tf.shape(x)[0], x.shape.as_list()[1]
    widths = tf.random.stateless_uniform(
        [count, 1], _subkey(key, 0), 0, int(_MASK * length) + 1, tf.int32
    )
    # float64, so that no product rounds up to the number of starts.
    place = tf.random.stateless_uniform(
        [count, 1], _subkey(key, 1), dtype=tf.float64
    )
    choices = tf.cast(length - widths + 1, tf.float64)
    starts = tf.cast(place * choices, tf.int32)
    samples = tf.range(length)
    inside = (samples >= starts) & (samples < starts + widths)
    return tf.where(inside, tf.zeros([], x.dtype), x)


_CHANGES: dict[str, Change] = {
    "shift": shift,
    "crop": crop,
    "rotate": rotate,
    "noise": noise,
    "time_mask": time_mask,
}


def _subkey(key: tf.Tensor, number: int) -> tf.Tensor:
    """Returns the key, int64 [2], of one of several draws from `key`."""
    return tf.random.experimental.stateless_fold_in(
        key, tf.constant(number, tf.int64)
    )


def _resampled(x: tf.Tensor, rows: Sequence[tf.Tensor]) -> tf.Tensor:
    """Reads images at other places, between pixels by linear interpolation.

    Args:
      x: Images [n, height, width, channels].
      rows: Six float32 [n], the upper two rows of the matrix that takes an
        output's (column, row, 1) to the place in `x` that it is read from;
        beyond an edge, the edge is read.

    Returns:
      The images read, of `x`'s shape and dtype.
    """
    zero = tf.zeros_like(rows[0])
    result = tf.raw_ops.ImageProjectiveTransformV3(
        images=_floating(x),
        transforms=tf.stack([*rows, zero, zero], axis=1),
        output_shape=x.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return _like(result, x)


def _floating(x: tf.Tensor) -> tf.Tensor:
    """Casts to the dtype to reckon in: float32, or float64 if `x` has it."""
    return tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)


def _like(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Casts `values` to the dtype of `x`, integers rounded to the nearest."""
    if x.dtype.is_integer:
        return tf.saturate_cast(tf.round(values), x.dtype)
    return tf.cast(values, x.dtype)
