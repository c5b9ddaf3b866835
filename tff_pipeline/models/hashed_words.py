"""Turns free text into numbers, of which no word can be read."""

import tensorflow as tf

_NO_LETTERS = r"[^\pL\pN]+"


def hashed_words(cells: tf.Tensor, buckets: int) -> tf.Tensor:
    """Counts the words of texts by a hash of theirs.

    This is feature hashing (Weinberger et al. 2009, "Feature hashing for large
    scale multitask learning", section 2) without signs. Words are what is
    between characters that are neither letters nor digits; case does not count.

    Example:
      >>> counts = hashed_words(tf.constant(["No, no fever!", " "]), 64)
      >>> counts.shape, [int(tf.math.count_nonzero(row)) for row in counts]
      (TensorShape([2, 64]), [2, 0])

    Args:
      cells: UTF-8 strings [batch].
      buckets: The number of hashes.

    Returns:
      float32 [batch, buckets], rows of L2 norm 1, or 0 for text without words.
    """
    words = tf.strings.split(
        tf.strings.regex_replace(
            tf.strings.lower(cells, encoding="utf-8"), _NO_LETTERS, " "
        )
    )
    places = tf.strings.to_hash_bucket_fast(words.flat_values, buckets)
    rows = tf.cast(words.value_rowids(), tf.int64)
    count = tf.size(cells, tf.int64)
    counts = tf.math.unsorted_segment_sum(
        tf.ones_like(places, tf.float32),
        rows * buckets + places,
        count * buckets,
    )
    return tf.math.l2_normalize(tf.reshape(counts, [count, buckets]), axis=1)
