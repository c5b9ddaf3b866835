"""Attention of a transformer's tokens: positions, masks and the products."""

from typing import Optional

import tensorflow as tf

# Added to the score of a token that is not seen; its share then is exactly 0.
_UNSEEN = -1e9


def rotary_angles(
    positions: tf.Tensor, head_width: int, base: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the rotations of rotary positions (Su et al. 2021, section 3).

    Args:
      positions: Positions of tokens, int32 [..., length].
      head_width: The size of a head's vectors, an even number.
      base: The base of the frequencies.

    Returns:
      (cosines, sines), float32 [..., length, head_width / 2].
    """
    places = tf.range(0, head_width, 2, tf.float32) / float(head_width)
    frequencies = tf.constant(base, tf.float32) ** -places
    angles = tf.cast(positions, tf.float32)[..., tf.newaxis] * frequencies
    return tf.cos(angles), tf.sin(angles)


def rotated(heads: tf.Tensor, angles: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Turns the vectors of heads by their tokens' positions.

    The first half of a vector holds the real parts, the second the imaginary
    ones, as in Hugging Face's Llama.

    Args:
      heads: float32 [batch, heads, length, head_width].
      angles: What `rotary_angles` gave for positions [length] or [batch, 1,
        length].
    """
    cosines, sines = angles
    real, imaginary = tf.split(heads, 2, axis=-1)
    return tf.concat(
        [
            real * cosines - imaginary * sines,
            imaginary * cosines + real * sines,
        ],
        axis=-1,
    )


def causal_mask(length: tf.Tensor) -> tf.Tensor:
    """Masks the tokens that come later.

    Args:
      length: The number of tokens, an int32 scalar.

    Returns:
      float32 [length, length]: 0 where the token of a row sees that of a
      column, else a number that takes its share away.
    """
    places = tf.range(length)
    return tf.where(places[:, tf.newaxis] >= places, 0.0, _UNSEEN)


def visible_mask(visible: tf.Tensor) -> tf.Tensor:
    """Masks tokens that no token sees.

    Args:
      visible: Whether a token is seen, bool [..., length].

    Returns:
      float32 [..., length], to be added to scores.
    """
    return tf.where(visible, 0.0, _UNSEEN)


def attend(
    queries: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    mask: Optional[tf.Tensor],
) -> tf.Tensor:
    """Computes attention (Vaswani et al. 2017, section 3.2.1), grouped.

    Consecutive heads of queries share a head of keys and values (Ainslie et
    al. 2023). Scores and shares are float32, products of the values' dtype.

    Args:
      queries: [batch, heads, length, head_width].
      keys: [batch, kv_heads, seen, head_width]; `kv_heads` divides `heads`.
      values: As `keys`.
      mask: Added to the scores, [length, seen] or [batch, 1, length, seen],
        float32; `None` for no mask.

    Returns:
      [batch, length, heads * head_width], of the values' dtype.
    """
    heads, width = queries.shape[1], queries.shape[3]
    kv_heads = keys.shape[1]
    shape = tf.shape(queries)
    batch, length = shape[0], shape[2]
    # Heads that share keys are rows of one product.
    grouped = [batch, kv_heads, heads // kv_heads * length, width]
    scores = tf.matmul(tf.reshape(queries, grouped), keys, transpose_b=True)
    scores = tf.reshape(
        tf.cast(scores, tf.float32), [batch, heads, length, tf.shape(keys)[2]]
    )
    scores *= width**-0.5
    if mask is not None:
        scores += mask
    shares = tf.cast(tf.nn.softmax(scores), values.dtype)
    mixed = tf.matmul(
        tf.reshape(shares, [*grouped[:3], tf.shape(keys)[2]]), values
    )
    mixed = tf.reshape(mixed, [batch, heads, length, width])
    return tf.reshape(
        tf.transpose(mixed, [0, 2, 1, 3]), [batch, length, heads * width]
    )
