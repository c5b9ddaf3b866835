"""Scores of tokens from hidden states, without all logits in memory at once.

The logits of 8 x 128 tokens over 50,000 ids are 200 MB, and a loss makes a few
copies. Here they are made for some tokens at a time, and their gradient with
them, so that they need not be made again.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# At most so many logits at once: 32 MB, of which a few copies are made.
_LOGITS_AT_ONCE = 8_000_000


def token_scores(
    hidden: tf.Tensor,
    targets: tf.Tensor,
    table: tf.Tensor,
    with_gradient: bool,
    table_trains: bool,
) -> tf.Tensor:
    """Computes how well every token was predicted.

    Args:
      hidden: What the last layer sees of each token, float32 [n, width].
      targets: The id of the token that follows, int32 [n].
      table: The matrix of the logits, [ids, width], whose dtype is that of the
        products.
      with_gradient: Whether the gradient will be taken.
      table_trains: Whether `table` has a gradient; if not, that of `hidden` is
        computed along with the logits.

    Returns:
      float32 [n, 2]: the cross-entropy in nats, and 1 where the target is the
      likeliest id, else 0.
    """
    count, ids = tf.shape(hidden)[0], table.shape[0]
    at_once = max(1, _LOGITS_AT_ONCE // ids)

    if with_gradient and not table_trains:
        return _with_gradient(hidden, targets, table, at_once)

    def some(rows: tf.Tensor, these: tf.Tensor) -> tf.Tensor:
        def scores(rows: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
            return _scores(logits_of(rows, matrix), these)

        if with_gradient:
            # The logits are made anew where the gradient needs them.
            scores = tf.recompute_grad(scores)
        return scores(rows, table)

    return tf.cond(
        count <= at_once,
        lambda: some(hidden, targets),
        lambda: _by_parts(some, hidden, targets, at_once, tf.float32),
    )


def at_once_bytes(ids: int, tokens: int) -> int:
    """Estimates the memory that the logits take, with their copies.

    Args:
      ids: The number of ids.
      tokens: The number of tokens.
    """
    return 4 * 4 * ids * min(tokens, max(1, _LOGITS_AT_ONCE // ids))


def logits_of(rows: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Computes logits.

    Args:
      rows: Hidden states of tokens, float32 [n, width].
      table: The matrix of the logits, [ids, width].

    Returns:
      float32 [n, ids].
    """
    # With the large matrix first: the other way round TensorFlow copies it into
    # another order for each product, which takes three times as long.
    rows = tf.cast(rows, table.dtype)
    return tf.cast(
        tf.transpose(tf.matmul(table, rows, transpose_b=True)), tf.float32
    )


def _scores(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    return _with_hits(nats, logits, targets)


def _with_hits(
    nats: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    likeliest = tf.argmax(logits, -1, tf.int32)
    hits = tf.cast(tf.equal(likeliest, targets), tf.float32)
    return tf.stack([nats, hits], axis=-1)


def _by_parts(
    function: Callable[[tf.Tensor, tf.Tensor], Any],
    hidden: tf.Tensor,
    targets: tf.Tensor,
    at_once: int,
    dtypes: Any,
) -> Any:
    """Calls a function for some rows after the other, and joins its results."""
    count = tf.shape(hidden)[0]
    parts = -(-count // at_once)
    missing = parts * at_once - count
    rows = tf.pad(hidden, [[0, missing], [0, 0]])
    these = tf.pad(targets, [[0, missing]])
    results = tf.map_fn(
        lambda part: function(*part),
        (
            tf.reshape(rows, [parts, at_once, hidden.shape[-1]]),
            tf.reshape(these, [parts, at_once]),
        ),
        parallel_iterations=1,
        fn_output_signature=dtypes,
    )
    return tf.nest.map_structure(
        lambda joined: tf.reshape(joined, [parts * at_once, *joined.shape[2:]])[
            :count
        ],
        results,
    )


def _with_gradient(
    hidden: tf.Tensor, targets: tf.Tensor, table: tf.Tensor, at_once: int
) -> tf.Tensor:
    """Computes the scores, and the nats' gradient beside the logits."""

    def some(rows: tf.Tensor, these: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = logits_of(rows, table)
        top = tf.reduce_max(logits, -1, keepdims=True)
        shares = tf.exp(logits - top)
        total = tf.reduce_sum(shares, -1, keepdims=True)
        # Of a token's nats by its hidden state: the mean row of the table that
        # the model expects, less the target's.
        mean = tf.matmul(tf.cast(shares, table.dtype), table)
        slope = tf.cast(mean, tf.float32) / total - tf.cast(
            tf.gather(table, these), tf.float32
        )
        target = tf.gather(logits, these, batch_dims=1)
        nats = tf.squeeze(tf.math.log(total) + top, -1) - target
        return _with_hits(nats, logits, these), slope

    @tf.custom_gradient
    def scored(hidden: tf.Tensor) -> Any:
        scores, slopes = _by_parts(
            some, hidden, targets, at_once, (tf.float32, tf.float32)
        )

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream[:, :1] * slopes

        return scores, gradient

    return scored(hidden)
