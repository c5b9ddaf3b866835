"""Continues texts of tokens by a transformer that keeps keys and values."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tff_pipeline.models.transformer import attention, scoring
from tff_pipeline.models.transformer.network import Transformer

# Added to the logits of ids that are never drawn.
_NEVER = -1e9


def draw(
    logits: tf.Tensor,
    temperature: tf.Tensor,
    top_p: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draws tokens from the likeliest ones (Holtzman et al. 2020).

    Args:
      logits: float32 [batch, ids].
      temperature: A float32 scalar; 0 takes the likeliest.
      top_p: Only the fewest ids whose probabilities at this temperature sum up
        to at least this share are drawn; 1 draws from all.
      seed: int32 [2].

    Returns:
      int32 [batch].

    >>> logits = tf.math.log([[0.5, 0.3, 0.2]])
    >>> ids = [int(draw(logits, 1.0, 0.6, [0, i])) for i in range(99)]
    >>> sorted(set(ids))
    [0, 1]
    """
    scaled = logits / tf.maximum(temperature, 1e-6)
    order = tf.argsort(scaled, axis=-1, direction="DESCENDING")
    ranked = tf.gather(scaled, order, batch_dims=1)
    shares = tf.nn.softmax(ranked)
    before = tf.cumsum(shares, axis=-1, exclusive=True)
    # The likeliest is always among them.
    kept = tf.where(
        (before < top_p) | (tf.range(tf.shape(logits)[1]) == 0),
        ranked,
        ranked.dtype.min,
    )
    place = tf.random.stateless_categorical(kept, 1, seed, tf.int32)
    drawn = tf.gather(order, place, batch_dims=1)[:, 0]
    return tf.where(temperature > 0, drawn, order[:, 0])


def continuation(
    network: Transformer,
    prompts: tf.Tensor,
    counts: tf.Tensor,
    *,
    length: tf.Tensor,
    temperature: tf.Tensor,
    top_p: tf.Tensor,
    seed: tf.Tensor,
    ends: Sequence[int] = (),
    barred: Sequence[int] = (),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Continues texts, a token at a time.

    The keys and values of the tokens so far are kept, so that each new token
    is computed once.

    Args:
      network: A decoder.
      prompts: Ids, int32 [batch, longest], filled up at their ends with any id.
      counts: The number of ids of each prompt, at least 1, int32 [batch].
      length: The number of tokens to add, an int32 scalar.
      temperature: See `draw`.
      top_p: See `draw`.
      seed: An int32 scalar; the same seed gives the same tokens.
      ends: Ids after which a text has ended.
      barred: Ids that are never drawn.

    Returns:
      (the new tokens, int32 [batch, length]; how many of them each text has
      before it ended, int32 [batch]).
    """
    batch, longest = tf.unstack(tf.shape(prompts))
    cached = longest + length
    places = tf.range(cached)
    start = tf.broadcast_to(tf.range(longest), [batch, longest])
    # A prompt's tokens see those before them; what fills up comes later.
    hidden, cache = network.go_on(
        prompts,
        start,
        network.empty_cache(batch, cached),
        attention.visible_mask(places <= tf.range(longest)[:, tf.newaxis]),
    )
    last = tf.gather(hidden, counts - 1, batch_dims=1)
    bars = np.zeros([network.architecture.vocabulary_size], np.float32)
    bars[list(barred)] = _NEVER
    ending = tf.constant(list(ends), tf.int32)

    def step(
        number: tf.Tensor,
        last: tf.Tensor,
        going: tf.Tensor,
        added: tf.Tensor,
        tokens: tf.Tensor,
        *cache: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        logits = scoring.logits_of(last, network.table) + bars
        token = draw(logits, temperature, top_p, tf.stack([seed, number]))
        going &= ~tf.reduce_any(token[:, tf.newaxis] == ending, axis=1)
        added += tf.cast(going, tf.int32)
        tokens = tf.tensor_scatter_nd_update(tokens, [[number]], [token])
        position = counts + number
        mask = attention.visible_mask(places <= position[:, tf.newaxis])
        hidden, after = network.go_on(
            token[:, tf.newaxis],
            position[:, tf.newaxis],
            cache,
            mask[:, tf.newaxis, tf.newaxis],
        )
        return (number + 1, hidden[:, 0], going, added, tokens, *after)

    _, _, _, added, tokens, *_ = tf.while_loop(
        lambda number, last, going, *_: (
            (number < length) & tf.reduce_any(going)
        ),
        step,
        (
            tf.constant(0),
            last,
            tf.ones([batch], tf.bool),
            tf.zeros([batch], tf.int32),
            tf.zeros([length, batch], tf.int32),
            *cache,
        ),
    )
    return tf.transpose(tokens), added
